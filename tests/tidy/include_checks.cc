#include "tidy/include_checks.h"

#include <algorithm>
#include <functional>
#include <string_view>

namespace chimera::tidy {
namespace {

std::string FirstPart(std::string_view path) { return std::string(path.substr(0, path.find('/'))); }

std::string Folder(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "" : std::string(path.substr(0, slash));
}

std::string FileName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == path.npos ? path : path.substr(slash + 1));
}

// "base" for libs/base/file.h; empty for files outside libs/.
std::string LibraryOf(std::string_view path) {
  constexpr std::string_view kLibs = "libs/";
  if (!path.starts_with(kLibs) || path.find('/', kLibs.size()) == path.npos) return "";
  return FirstPart(path.substr(kLibs.size()));
}

// Sources that are compiled for one instruction set.
bool IsKernel(std::string_view path) {
  return path.ends_with("_body.cc") || path.ends_with("_avx2.cc") || path.ends_with("_avx512.cc");
}

std::set<std::string> LibrariesIn(const std::vector<SourceFile>& files) {
  std::set<std::string> libraries;
  for (const SourceFile& file : files) {
    if (IsCode(file.path) && !LibraryOf(file.path).empty()) libraries.insert(LibraryOf(file.path));
  }
  return libraries;
}

// Why `file` of `library` may not include `path`; empty when it may.
std::string LibraryObjection(const std::string& library, const std::string& path,
                             const std::set<std::string>& below,
                             const std::set<std::string>& libraries) {
  if (path.starts_with("services/")) return "a library includes a service";
  if (path.starts_with("grpc") && library != "cluster") {
    return library + " includes gRPC: only cluster and services may";
  }
  const std::string other = FirstPart(path);
  if (other == library || !libraries.contains(other) || below.contains(other)) return "";
  return library + " may not include " + other + " (floor table, tests/tidy/include_checks.cc)";
}

// services/knot/a.h may include services/knot/... and services/*.h. The command line and the
// tests that stand above the services may include all of them.
std::string ServiceObjection(const std::string& file, const std::string& path) {
  if (!path.starts_with("services/") || Folder(path) == "services") return "";
  if (file.starts_with("services/cli/") || (Folder(file) == "services" && IsTest(file))) return "";
  const std::string rest = file.substr(std::string_view("services/").size());
  const bool own = path.starts_with("services/" + FirstPart(rest) + "/");
  return own ? "" : "a service includes the inside of another one";
}

}  // namespace

const std::vector<Floor>& Floors() {
  static const std::vector<Floor>* floors = new std::vector<Floor>{
      {"base", {}},
      {"config", {"base"}},
      {"text", {"base"}},
      {"hdc", {"base", "text"}},
      {"tensor", {"base"}},
      {"ternary", {"tensor"}},
      {"counts", {"base", "text"}},
      {"grammar", {"text"}},
      {"layers", {"ternary", "hdc"}},
      {"model", {"layers", "config"}},
      {"spans", {"hdc", "grammar"}},
      {"memory", {"hdc"}},
      {"decode", {"spans", "grammar", "counts", "text", "config"}},
      {"train", {"model", "counts", "text", "config"}},
      {"cluster", {"decode", "train", "memory", "model"}},
  };
  return *floors;
}

std::map<std::string, std::set<std::string>> Reachable(const std::vector<Floor>& floors) {
  std::map<std::string, std::set<std::string>> below;
  for (const Floor& floor : floors) {  // lowest first: what it names is complete already
    std::set<std::string>& mine = below[floor.library];
    for (const std::string& name : floor.may_include) {
      mine.insert(name);
      mine.insert(below[name].begin(), below[name].end());
    }
  }
  return below;
}

std::vector<Finding> CheckFloors(const std::vector<SourceFile>& files) {
  const auto below = Reachable(Floors());
  const std::set<std::string> libraries = LibrariesIn(files);
  std::vector<Finding> findings;
  for (const std::string& library : libraries) {
    if (!below.contains(library)) {
      findings.push_back({"libs/" + library, 0, "is not in the floor table"});
    }
  }
  for (const SourceFile& file : files) {
    const std::string library = LibraryOf(file.path);
    const bool service = file.path.starts_with("services/");
    if (!IsCode(file.path) || (library.empty() && !service)) continue;
    const auto it = below.find(library);
    for (const Include& include : Includes(file.text)) {
      std::string objection;
      if (!include.quoted && !include.path.starts_with("grpc")) continue;
      if (service) {
        objection = ServiceObjection(file.path, include.path);
      } else if (it != below.end()) {
        objection = LibraryObjection(library, include.path, it->second, libraries);
      }
      if (!objection.empty()) findings.push_back({file.path, include.line, objection});
    }
  }
  return findings;
}

std::vector<Finding> CheckKernelIncludes(const std::vector<SourceFile>& files) {
  std::map<std::string, const SourceFile*> by_path;
  for (const SourceFile& file : files) by_path[file.path] = &file;
  std::vector<Finding> findings;
  for (const SourceFile& file : files) {
    if (!file.path.starts_with("libs/") || !IsKernel(file.path)) continue;
    std::set<std::string> seen;
    const std::function<void(const SourceFile&, const std::string&)> visit =
        [&](const SourceFile& at, const std::string& chain) {
          if (!seen.insert(at.path).second) return;
          for (const Include& include : Includes(at.text)) {
            if (include.path.starts_with("absl/") || include.path.starts_with("gtest/")) {
              findings.push_back(
                  {at.path, include.line, "a kernel reaches " + include.path + " by " + chain});
            }
            const auto next = by_path.find("libs/" + include.path);
            if (next != by_path.end()) visit(*next->second, chain + " -> " + next->first);
          }
        };
    visit(file, file.path);
  }
  return findings;
}

std::vector<Finding> CheckOwnHeaderFirst(const std::vector<SourceFile>& files) {
  std::set<std::string> headers;
  for (const SourceFile& file : files) {
    if (file.path.ends_with(".h")) headers.insert(file.path);
  }
  std::vector<Finding> findings;
  for (const SourceFile& file : files) {
    if (!file.path.ends_with(".cc")) continue;
    const std::string header = file.path.substr(0, file.path.size() - 2) + "h";
    if (!headers.contains(header)) continue;
    const std::vector<Include> includes = Includes(file.text);
    // "libs/" and "tests/" are include folders; services are named from the root.
    const bool first = !includes.empty() && includes[0].quoted &&
                       (header == includes[0].path || header.ends_with("/" + includes[0].path));
    if (!first) findings.push_back({file.path, 1, "must include its own header first"});
  }
  return findings;
}

std::vector<Finding> CheckInBuild(const std::vector<SourceFile>& files) {
  std::map<std::string, std::string> lists;  // by folder
  for (const SourceFile& file : files) {
    const std::string name = FileName(file.path);
    if (name == "CMakeLists.txt" || name == "bodies.cmake") lists[Folder(file.path)] += file.text;
  }
  std::vector<Finding> findings;
  for (const SourceFile& file : files) {
    if (!file.path.ends_with(".cc")) continue;
    const std::string name = FileName(file.path);
    // Kernels are often listed by stem: foreach(body rms_norm swiglu).
    constexpr std::string_view kBody = "_body.cc";
    const std::string stem =
        name.ends_with(kBody) ? name.substr(0, name.size() - kBody.size()) : name;
    bool named = false;
    for (std::string folder = Folder(file.path); !named; folder = Folder(folder)) {
      const auto it = lists.find(folder);
      named = it != lists.end() && (HasWord(it->second, name) || HasWord(it->second, stem));
      if (folder.empty()) break;
    }
    if (!named) findings.push_back({file.path, 0, "no CMakeLists.txt names this file"});
  }
  return findings;
}

}  // namespace chimera::tidy
