// The checked-in text of the project, and the little lexing that the checks share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chimera::tidy {

struct SourceFile {
  std::string path;  // relative to the root, with '/'
  std::string text;
};

struct Finding {
  std::string path;
  int line = 0;  // 1-based; 0 when it is about the whole file
  std::string message;
};

// Text files below root in path order, without build trees, caches and hidden folders.
std::vector<SourceFile> ReadTree(const std::string& root);

// "path:line: message" lines, for assertion messages.
std::string Format(const std::vector<Finding>& findings);

// The same number of lines, with comments, preprocessor lines and the insides of literals blanked.
std::string CodeOnly(std::string_view text);

// Without line ends.
std::vector<std::string_view> Lines(std::string_view text);

// First place at or after `from` where word stands as a whole word; npos when there is none.
size_t FindWord(std::string_view text, std::string_view word, size_t from = 0);
bool HasWord(std::string_view text, std::string_view word);

struct Include {
  int line = 0;
  std::string path;
  bool quoted = false;
};
std::vector<Include> Includes(std::string_view text);

bool IsCode(std::string_view path);  // .h or .cc
bool IsTest(std::string_view path);  // tests/, *_test.cc, and *_testing.* that tests share

}  // namespace chimera::tidy
