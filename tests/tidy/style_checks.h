// Checks on one file at a time: words, calls and sizes.
#pragma once

#include <string_view>
#include <vector>

#include "tidy/source_tree.h"

namespace chimera::tidy {

inline constexpr int kColumnsMax = 100;
inline constexpr int kFileLinesMax = 1000;
inline constexpr int kFileLinesThink = 600;
inline constexpr int kFunctionLinesMax = 70;

// Calls and types that have a better replacement here; the message names it. Code files only.
std::vector<Finding> CheckBannedCalls(const SourceFile& file);

// Left-over markers and paths of somebody's machine, in any text file.
std::vector<Finding> CheckBannedWords(const SourceFile& file);

// Lines of code and protos. A line with a URL or an include may be longer.
std::vector<Finding> CheckColumns(const SourceFile& file);

std::vector<Finding> CheckFileLength(const SourceFile& file);

// A header starts with a comment that says what it is for, then #pragma once.
std::vector<Finding> CheckHeaderStart(const SourceFile& file);

struct Function {
  std::string header;  // one line, without the body
  int line = 0;        // of its first word
  int lines = 0;
};
// Functions by brace matching; a lambda counts as a part of the function around it.
std::vector<Function> Functions(std::string_view text);

std::vector<Finding> CheckFunctionLength(const SourceFile& file);

}  // namespace chimera::tidy
