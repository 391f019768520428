#include "tidy/source_tree.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace chimera::tidy {
namespace {

bool IsText(const std::filesystem::path& path) {
  static constexpr std::string_view kExtensions[] = {".h",  ".cc",  ".proto", ".md",  ".txt",
                                                     ".sh", ".mjs", ".cmake", ".json"};
  const std::string extension = path.extension().string();
  if (extension.empty()) return path.filename() == "Dockerfile";
  return std::find(std::begin(kExtensions), std::end(kExtensions), extension) !=
         std::end(kExtensions);
}

bool IsSkippedFolder(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.front() == '.' || name == "build" || name == "data" || name == "node_modules";
}

bool IsWordChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Blanks [begin, end) but keeps its line ends.
void Blank(std::string* text, size_t begin, size_t end) {
  for (size_t i = begin; i < end && i < text->size(); ++i) {
    if ((*text)[i] != '\n') (*text)[i] = ' ';
  }
}

// Position after a quoted literal that opens at `at`.
size_t EndOfLiteral(std::string_view text, size_t at) {
  const char quote = text[at];
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == quote || text[i] == '\n') {
      return i + 1;
    }
  }
  return text.size();
}

// Position after a raw string literal whose quote is at `at`.
size_t EndOfRawString(std::string_view text, size_t at) {
  const size_t open = text.find('(', at);
  if (open == std::string_view::npos) return text.size();
  const std::string close = ")" + std::string(text.substr(at + 1, open - at - 1)) + "\"";
  const size_t end = text.find(close, open);
  return end == std::string_view::npos ? text.size() : end + close.size();
}

// Position after a preprocessor directive, with its continuation lines.
size_t EndOfDirective(std::string_view text, size_t at) {
  while (true) {
    const size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return text.size();
    if (end == 0 || text[end - 1] != '\\') return end;
    at = end + 1;
  }
}

}  // namespace

std::vector<SourceFile> ReadTree(const std::string& root) {
  namespace fs = std::filesystem;
  std::vector<SourceFile> files;
  std::error_code error;
  fs::recursive_directory_iterator it(root, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    if (it->is_directory()) {
      if (IsSkippedFolder(it->path())) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file() || !IsText(it->path())) continue;
    std::ifstream in(it->path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    files.push_back({fs::relative(it->path(), root).generic_string(), std::move(text).str()});
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

std::string Format(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& f : findings) {
    out += f.path + (f.line > 0 ? ":" + std::to_string(f.line) : "") + ": " + f.message + "\n";
  }
  return out;
}

std::string CodeOnly(std::string_view text) {
  std::string out(text);
  bool line_start = true;
  for (size_t i = 0; i < out.size();) {
    const char c = out[i];
    size_t end = i + 1;
    if (c == '/' && i + 1 < out.size() && out[i + 1] == '/') {
      end = std::min(out.find('\n', i), out.size());
      Blank(&out, i, end);
    } else if (c == '/' && i + 1 < out.size() && out[i + 1] == '*') {
      const size_t close = out.find("*/", i + 2);
      end = close == std::string::npos ? out.size() : close + 2;
      Blank(&out, i, end);
    } else if (c == '#' && line_start) {
      end = EndOfDirective(out, i);
      Blank(&out, i, end);
    } else if (c == '"' && i > 0 && out[i - 1] == 'R' && (i < 2 || !IsWordChar(out[i - 2]))) {
      end = EndOfRawString(out, i);
      Blank(&out, i + 1, end - 1);
    } else if (c == '"' || (c == '\'' && (i == 0 || !IsWordChar(out[i - 1])))) {
      end = EndOfLiteral(out, i);
      Blank(&out, i + 1, end - 1);
    }
    if (c == '\n') {
      line_start = true;
    } else if (std::isspace(static_cast<unsigned char>(c)) == 0) {
      line_start = false;
    }
    i = end;
  }
  return out;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

size_t FindWord(std::string_view text, std::string_view word, size_t from) {
  for (size_t at = text.find(word, from); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    const bool starts = at == 0 || !IsWordChar(text[at - 1]) || !IsWordChar(word.front());
    const bool ends = end >= text.size() || !IsWordChar(text[end]) || !IsWordChar(word.back());
    if (starts && ends) return at;
  }
  return std::string_view::npos;
}

bool HasWord(std::string_view text, std::string_view word) {
  return FindWord(text, word) != std::string_view::npos;
}

std::vector<Include> Includes(std::string_view text) {
  std::vector<Include> includes;
  int line = 0;
  for (const std::string_view s : Lines(text)) {
    ++line;
    constexpr std::string_view kDirective = "#include ";
    if (s.substr(0, kDirective.size()) != kDirective) continue;
    const std::string_view rest = s.substr(kDirective.size());
    if (rest.empty()) continue;
    const size_t close = rest.find(rest.front() == '<' ? '>' : '"', 1);
    if (close == std::string_view::npos) continue;
    includes.push_back({line, std::string(rest.substr(1, close - 1)), rest.front() == '"'});
  }
  return includes;
}

bool IsCode(std::string_view path) { return path.ends_with(".h") || path.ends_with(".cc"); }

bool IsTest(std::string_view path) {
  return path.starts_with("tests/") || path.ends_with("_test.cc") ||
         path.ends_with("_testing.cc") || path.ends_with("_testing.h");
}

}  // namespace chimera::tidy
