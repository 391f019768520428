#include "tidy/doc_checks.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace chimera::tidy {
namespace {

SourceFile Page(const std::vector<SourceFile>& files, const std::string& path) {
  const auto it =
      std::find_if(files.begin(), files.end(), [&](const SourceFile& f) { return f.path == path; });
  return it == files.end() ? SourceFile{path, ""} : *it;
}

TEST(TreeTest, SpineOfTheArchitecturePageExists) {
  const auto files = ReadTree(CHIMERA_SOURCE_DIR);
  const auto findings = CheckSpine(Page(files, "ARCHITECTURE.md"), files);
  EXPECT_TRUE(findings.empty()) << Format(findings);
}

TEST(TreeTest, FloorTableOfTheArchitecturePageIsTrue) {
  const auto findings =
      CheckFloorTable(Page(ReadTree(CHIMERA_SOURCE_DIR), "ARCHITECTURE.md"), Floors());
  EXPECT_TRUE(findings.empty()) << Format(findings);
}

TEST(TreeTest, LinksLeadSomewhere) {
  std::vector<Finding> all;
  for (const SourceFile& file : ReadTree(CHIMERA_SOURCE_DIR)) {
    if (!file.path.ends_with(".md")) continue;
    for (Finding& finding : CheckLinks(file, CHIMERA_SOURCE_DIR)) all.push_back(std::move(finding));
  }
  EXPECT_TRUE(all.empty()) << Format(all);
}

std::string Spine(const std::string& last_row) {
  std::string page = "<!-- spine -->\n| step | file | symbols |\n|---|---|---|\n";
  for (int i = 0; i < 4; ++i) page += "| a | `a.cc` | `A::Run` |\n";
  return page + last_row + "<!-- /spine -->\n";
}

TEST(SpineTest, CatchesBadSamples) {
  const std::vector<SourceFile> files = {{"a.cc", "void A::Run() {}"}};
  const auto count = [&](const std::string& last_row) {
    return CheckSpine({"ARCHITECTURE.md", Spine(last_row)}, files).size();
  };
  EXPECT_EQ(count("| a | `a.cc` | `A::Run` |\n"), 0u);
  EXPECT_EQ(count("| a | `a.cc` | `A::Walk` |\n"), 1u);
  EXPECT_EQ(count("| a | `b.cc` | `A::Run` |\n"), 1u);
  EXPECT_EQ(count("| a | a.cc | `A::Run` |\n"), 1u);
  EXPECT_EQ(count(""), 1u);  // too short
  EXPECT_EQ(CheckSpine({"ARCHITECTURE.md", "no marks"}, files).size(), 1u);
}

TEST(FloorTableTest, CatchesBadSamples) {
  const std::vector<Floor> floors = {{"base", {}}, {"text", {"base"}}};
  const auto count = [&](const std::string& rows) {
    return CheckFloorTable({"A.md", "<!-- floors -->\n| l | j | i |\n|---|---|---|\n" + rows +
                                        "<!-- /floors -->"},
                           floors)
        .size();
  };
  EXPECT_EQ(count("| `base` | x | - |\n| `text` | x | `base` |\n"), 0u);
  EXPECT_EQ(count("| `base` | x | - |\n| `text` | x | `hdc` |\n"), 1u);
  EXPECT_EQ(count("| `base` | x | - |\n"), 1u);
}

TEST(LinksTest, CatchesBadSamples) {
  const auto count = [](const std::string& text) {
    return CheckLinks({"docs/a.md", text}, CHIMERA_SOURCE_DIR).size();
  };
  EXPECT_EQ(count("[a](../CMakeLists.txt) [b](https://example.org/x) [c](#part)"), 0u);
  EXPECT_EQ(count("[a](../CMakeLists.txt#part)"), 0u);
  EXPECT_EQ(count("[a](nowhere.md)"), 1u);
  EXPECT_EQ(count("[a](CMakeLists.txt)"), 1u);  // relative to the page, not to the root
}

}  // namespace
}  // namespace chimera::tidy
