#include "tidy/style_checks.h"

#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <string>

namespace chimera::tidy {
namespace {

using Check = std::function<std::vector<Finding>(const SourceFile&)>;

// Every file of the project through one check.
void ExpectClean(const Check& check) {
  std::vector<Finding> all;
  for (const SourceFile& file : ReadTree(CHIMERA_SOURCE_DIR)) {
    for (Finding& finding : check(file)) all.push_back(std::move(finding));
  }
  EXPECT_TRUE(all.empty()) << Format(all);
}

TEST(TreeTest, NoBannedCalls) { ExpectClean(CheckBannedCalls); }
TEST(TreeTest, NoBannedWords) { ExpectClean(CheckBannedWords); }
TEST(TreeTest, LinesFit) { ExpectClean(CheckColumns); }
TEST(TreeTest, FunctionsFitAScreen) { ExpectClean(CheckFunctionLength); }
TEST(TreeTest, HeadersStartWithTheirContract) { ExpectClean(CheckHeaderStart); }

TEST(TreeTest, FilesStayShort) {
  ExpectClean(CheckFileLength);
  for (const SourceFile& file : ReadTree(CHIMERA_SOURCE_DIR)) {
    const size_t lines = Lines(file.text).size();
    if (IsCode(file.path) && lines > kFileLinesThink) {
      std::cout << "longer than " << kFileLinesThink << " lines: " << file.path << " " << lines
                << "\n";
    }
  }
}

TEST(BannedCallsTest, CatchesBadSamples) {
  const auto count = [](const std::string& text) {
    return CheckBannedCalls({"libs/x/a.cc", text}).size();
  };
  EXPECT_EQ(count("int f() { return rand(); }"), 1u);
  EXPECT_EQ(count("auto home = std::getenv(\"HOME\");"), 1u);
  EXPECT_EQ(count("using namespace std;"), 1u);
  EXPECT_EQ(count("std::mutex m;"), 1u);
  EXPECT_EQ(count("void f() { throw 1; }"), 1u);
  EXPECT_EQ(count("#include \"absl/log/log.h\"\n"), 1u);
  EXPECT_EQ(count("std::regex r;"), 1u);
  EXPECT_EQ(count("int n = system(\"ls\");"), 1u);
  EXPECT_EQ(count("// rand() and throw\nint operand(int);"), 0u);
  EXPECT_EQ(CheckBannedCalls({"libs/base/mutex.h", "std::mutex m;"}).size(), 0u);
  EXPECT_EQ(CheckBannedCalls({"libs/x/a_test.cc", "int n = system(\"ls\");"}).size(), 0u);
  EXPECT_EQ(CheckBannedCalls({"libs/x/a_test.cc", "void f() { throw 1; }"}).size(), 1u);
}

TEST(BannedWordsTest, CatchesBadSamples) {
  EXPECT_EQ(CheckBannedWords({"libs/x/a.cc", "// TODO: later"}).size(), 1u);
  EXPECT_EQ(CheckBannedWords({"docs/a.md", "see /work/main"}).size(), 1u);
  EXPECT_EQ(CheckBannedWords({"libs/x/a.cc", "\"/tmp/aXXXXXX\""}).size(), 0u);
}

TEST(ColumnsTest, CatchesBadSamples) {
  EXPECT_EQ(CheckColumns({"a.cc", std::string(101, 'a')}).size(), 1u);
  EXPECT_EQ(CheckColumns({"a.cc", std::string(100, 'a')}).size(), 0u);
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "\xC3\xA4";
  EXPECT_EQ(CheckColumns({"a.cc", umlauts}).size(), 0u);
}

TEST(FileLengthTest, CatchesBadSamples) {
  EXPECT_EQ(CheckFileLength({"a.cc", std::string(1001, '\n')}).size(), 1u);
  EXPECT_EQ(CheckFileLength({"a.cc", std::string(1000, '\n')}).size(), 0u);
  EXPECT_EQ(CheckFileLength({"a.json", std::string(1001, '\n')}).size(), 0u);
}

TEST(HeaderStartTest, CatchesBadSamples) {
  EXPECT_EQ(CheckHeaderStart({"a.h", "// What.\n#pragma once\n"}).size(), 0u);
  EXPECT_EQ(CheckHeaderStart({"a.h", "#pragma once\n"}).size(), 1u);
  EXPECT_EQ(CheckHeaderStart({"a.h", "// What.\nint a;\n#pragma once\n"}).size(), 1u);
}

// A function of n lines, in each of the shapes the brace matcher has to know.
std::string FunctionOf(const std::string& header, int lines) {
  return header + " {\n" + std::string(static_cast<size_t>(lines - 2), '\n') + "}\n";
}

TEST(FunctionLengthTest, CatchesBadSamples) {
  for (const std::string header :
       {"void F()", "static int F(int a)", "Foo::Foo(int a) : a_{a}, b_(a)", "TEST(A, B)",
        "template <class T> void F(T t)", "auto F() -> std::vector<int>"}) {
    const std::string wrapped = "namespace a {\n" + FunctionOf(header, 71) + "}\n";
    EXPECT_EQ(CheckFunctionLength({"a.cc", wrapped}).size(), 1u) << header;
    EXPECT_EQ(CheckFunctionLength({"a.cc", FunctionOf(header, 70)}).size(), 0u) << header;
  }
  const std::string member = "class A final : public B {\n" + FunctionOf("void F()", 71) + "};\n";
  EXPECT_EQ(CheckFunctionLength({"a.h", member}).size(), 1u);
  // A long class or table is not a function.
  EXPECT_EQ(CheckFunctionLength({"a.h", FunctionOf("class A", 200) + ";"}).size(), 0u);
  EXPECT_EQ(CheckFunctionLength({"a.cc", FunctionOf("const int a[] =", 200) + ";"}).size(), 0u);
}

TEST(FunctionLengthTest, LambdasBelongToTheirFunction) {
  const auto functions =
      Functions("int F() {\n  g([&](int i) {\n    h();\n  });\n  return 1;\n}\n");
  ASSERT_EQ(functions.size(), 1u);
  EXPECT_EQ(functions[0].header, "int F() ");
  EXPECT_EQ(functions[0].lines, 6);
}

}  // namespace
}  // namespace chimera::tidy
