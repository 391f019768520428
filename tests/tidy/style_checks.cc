#include "tidy/style_checks.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace chimera::tidy {
namespace {

struct Ban {
  std::string_view word;
  bool call;  // only when '(' follows
  std::string_view replacement;
  std::string_view allowed_in;  // path prefix; empty: nowhere
};

constexpr Ban kBans[] = {
    {"getenv", true, "a configuration key or a flag", "libs/base/cpu.cc"},
    {"rand", true, "base/philox.h", ""},
    {"srand", true, "base/philox.h", ""},
    {"random_device", false, "base/philox.h", ""},
    {"mt19937", false, "base/philox.h", ""},
    {"throw", false, "absl::Status", ""},
    {"dynamic_cast", false, "a virtual function", ""},
    {"typeid", true, "a virtual function", ""},
    {"using namespace", false, "the full name", ""},
    {"std::mutex", false, "Mutex of base/mutex.h", "libs/base/mutex.h"},
    {"std::lock_guard", false, "MutexLock of base/mutex.h", "libs/base/mutex.h"},
    {"std::unique_lock", false, "MutexLock of base/mutex.h", "libs/base/mutex.h"},
    {"std::scoped_lock", false, "MutexLock of base/mutex.h", ""},
    {"std::shared_mutex", false, "Mutex of base/mutex.h", ""},
    {"std::condition_variable", false, "CondVar of base/mutex.h", "libs/base/mutex.h"},
    {"absl::Mutex", false, "Mutex of base/mutex.h, which ThreadSanitizer sees", ""},
    {"std::regex", false, "a scanner over bytes: its run time must be bounded", ""},
    {"sprintf", true, "absl::StrCat", ""},
    {"vsprintf", true, "absl::StrCat", ""},
    {"strcpy", true, "std::string", ""},
    {"strcat", true, "std::string", ""},
    {"strtok", true, "absl::StrSplit", ""},
    {"atoi", true, "absl::SimpleAtoi", ""},
    {"atof", true, "absl::SimpleAtod", ""},
    {"system", true, "posix_spawn, without a shell", ""},
    {"popen", true, "posix_spawn, without a shell", ""},
    {"assert", true, "CHIMERA_CHECK of base/check.h", ""},
    {"abort", true, "CHIMERA_CHECK of base/check.h", "libs/base/"},
    {"std::fma", false, "Fma of tensor/vec.h, quick on every machine", ""},
    {"goto", false, "a loop or a function", ""},
};

// Places that need the banned thing, and why.
struct Exception {
  std::string_view path;
  std::string_view word;
};
constexpr Exception kExceptions[] = {
    // A seed for a request that brought none; it is echoed, so the text can be had again.
    {"libs/cluster/completer.cc", "random_device"},
    // Ids of jobs: no result depends on them.
    {"libs/train/jobs.cc", "random_device"},
    // What the kernels' Fma is compared with.
    {"libs/ternary/ternary_naive.h", "std::fma"},
};

// Tests start tools with command lines of their own, read what they print, replace operator new.
constexpr std::string_view kTestsMay[] = {"system", "popen", "abort", "atof", "atoi"};

bool IsException(const SourceFile& file, const Ban& ban) {
  if (IsTest(file.path) &&
      std::find(std::begin(kTestsMay), std::end(kTestsMay), ban.word) != std::end(kTestsMay)) {
    return true;
  }
  return std::any_of(std::begin(kExceptions), std::end(kExceptions),
                     [&](const Exception& e) { return e.path == file.path && e.word == ban.word; });
}

// Here they are data.
constexpr std::string_view kThisFolder = "tests/tidy/";

constexpr std::string_view kMarkers[] = {"TODO", "FIXME", "XXX", "HACK"};
constexpr std::string_view kPaths[] = {"/work/main", "/work/shared", "/root/"};

int Columns(std::string_view line) {  // code points
  return static_cast<int>(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

int LineOf(std::string_view text, size_t at) {
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + at, '\n'));
}

size_t SkipSpace(std::string_view text, size_t at) {
  while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) ++at;
  return at;
}

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space) {
      out.push_back(c);
    } else if (!out.empty() && out.back() != ' ') {
      out.push_back(' ');
    }
  }
  return out;
}

// What a brace opens, judged by the words before it.
enum class Scope { kContainer, kFunction, kOther };
Scope Classify(std::string_view header, bool inside_containers) {
  if (!inside_containers) return Scope::kOther;
  if (HasWord(header, "namespace") || HasWord(header, "extern")) return Scope::kContainer;
  const bool parenthesis = header.find('(') != std::string_view::npos;
  const bool type = HasWord(header, "class") || HasWord(header, "struct") ||
                    HasWord(header, "union") || HasWord(header, "enum");
  // A class header may carry attributes in parentheses; a function may have template <class T>.
  if (type &&
      (!parenthesis || HasWord(header, "final") || header.find(" : public") != header.npos)) {
    return Scope::kContainer;
  }
  return parenthesis ? Scope::kFunction : Scope::kOther;
}

}  // namespace

std::vector<Finding> CheckBannedCalls(const SourceFile& file) {
  std::vector<Finding> findings;
  if (!IsCode(file.path) || file.path.starts_with(kThisFolder)) return findings;
  const std::string code = CodeOnly(file.text);
  for (const Ban& ban : kBans) {
    if (!ban.allowed_in.empty() && file.path.starts_with(ban.allowed_in)) continue;
    if (IsException(file, ban)) continue;
    for (size_t at = FindWord(code, ban.word); at != std::string::npos;
         at = FindWord(code, ban.word, at + 1)) {
      if (ban.call && code[std::min(at + ban.word.size(), code.size() - 1)] != '(') continue;
      // A member function of the same name is somebody else's.
      if (ban.call && at > 0 && (code[at - 1] == '.' || code[at - 1] == '>')) continue;
      findings.push_back({file.path, LineOf(code, at),
                          std::string(ban.word) + ": use " + std::string(ban.replacement)});
    }
  }
  for (const Include& include : Includes(file.text)) {
    if (include.path.starts_with("absl/log/")) {
      findings.push_back({file.path, include.line, "absl/log: use base/log.h"});
    }
  }
  return findings;
}

std::vector<Finding> CheckBannedWords(const SourceFile& file) {
  std::vector<Finding> findings;
  if (file.path.starts_with(kThisFolder)) return findings;
  for (const std::string_view word : kMarkers) {
    if (!IsCode(file.path) && !file.path.ends_with(".proto") && !file.path.ends_with(".sh")) break;
    const size_t at = FindWord(file.text, word);
    if (at == std::string::npos) continue;
    findings.push_back({file.path, LineOf(file.text, at), std::string(word) + " left over"});
  }
  for (const std::string_view path : kPaths) {
    const size_t at = file.text.find(path);
    if (at == std::string::npos) continue;
    findings.push_back(
        {file.path, LineOf(file.text, at), "a path of one machine: " + std::string(path)});
  }
  return findings;
}

std::vector<Finding> CheckColumns(const SourceFile& file) {
  std::vector<Finding> findings;
  if (!IsCode(file.path) && !file.path.ends_with(".proto")) return findings;
  int number = 0;
  for (const std::string_view line : Lines(file.text)) {
    ++number;
    if (Columns(line) <= kColumnsMax || line.find("://") != line.npos ||
        line.starts_with("#include")) {
      continue;
    }
    findings.push_back(
        {file.path, number,
         std::to_string(Columns(line)) + " columns exceed " + std::to_string(kColumnsMax)});
  }
  return findings;
}

std::vector<Finding> CheckFileLength(const SourceFile& file) {
  const int lines = static_cast<int>(Lines(file.text).size());
  if (!IsCode(file.path) || lines <= kFileLinesMax) return {};
  return {{file.path, 0,
           std::to_string(lines) + " lines exceed " + std::to_string(kFileLinesMax) +
               ": split it by what its parts are for"}};
}

std::vector<Finding> CheckHeaderStart(const SourceFile& file) {
  if (!file.path.ends_with(".h")) return {};
  std::vector<Finding> findings;
  if (!file.text.starts_with("// ")) {
    findings.push_back({file.path, 1, "a header starts with a sentence that says what it is for"});
  }
  for (const std::string_view line : Lines(file.text)) {
    if (line.starts_with("//") || line.empty()) continue;
    if (line == "#pragma once") return findings;
    break;
  }
  findings.push_back({file.path, 1, "#pragma once is missing, or not the first line of code"});
  return findings;
}

std::vector<Function> Functions(std::string_view text) {
  struct Open {
    Scope scope;
    size_t header_begin;
  };
  const std::string code = CodeOnly(text);
  std::vector<Function> functions;
  std::vector<Open> stack;
  size_t header_begin = 0;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i] == ';') {
      header_begin = i + 1;
    } else if (code[i] == '{') {
      const bool inside_containers = std::all_of(
          stack.begin(), stack.end(), [](const Open& o) { return o.scope == Scope::kContainer; });
      const std::string_view header = std::string_view(code).substr(header_begin, i - header_begin);
      stack.push_back({Classify(header, inside_containers), header_begin});
      header_begin = i + 1;
    } else if (code[i] == '}' && !stack.empty()) {
      const Open open = stack.back();
      stack.pop_back();
      const size_t next = SkipSpace(code, i + 1);
      // "a_{1}, b_{2} {": the braces of an initialiser, so the header goes on.
      const bool goes_on = next < code.size() && (code[next] == ',' || code[next] == '{');
      header_begin = goes_on ? open.header_begin : i + 1;
      if (open.scope != Scope::kFunction || goes_on) continue;
      const size_t begin = SkipSpace(code, open.header_begin);
      const int line = LineOf(code, begin);
      const size_t brace = code.find('{', begin);
      functions.push_back({OneLine(std::string_view(code).substr(begin, brace - begin)), line,
                           LineOf(code, i) - line + 1});
    }
  }
  return functions;
}

std::vector<Finding> CheckFunctionLength(const SourceFile& file) {
  std::vector<Finding> findings;
  if (!IsCode(file.path)) return findings;
  for (const Function& function : Functions(file.text)) {
    if (function.lines <= kFunctionLinesMax) continue;
    findings.push_back({file.path, function.line,
                        std::to_string(function.lines) + " lines exceed " +
                            std::to_string(kFunctionLinesMax) + ": " +
                            function.header.substr(0, 60)});
  }
  return findings;
}

}  // namespace chimera::tidy
