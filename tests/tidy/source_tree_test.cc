#include "tidy/source_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chimera::tidy {
namespace {

TEST(CodeOnlyTest, BlanksCommentsLiteralsAndDirectives) {
  const std::string text =
      "#define A \\\n  throw\nint a; // throw\n/* throw\n throw */ f(\"throw\\\"throw\");\n"
      "char c = '\"'; int n = 1'000; auto r = R\"x(throw \" )x\"; g();\n";
  const std::string code = CodeOnly(text);
  EXPECT_EQ(Lines(code).size(), Lines(text).size());
  EXPECT_FALSE(HasWord(code, "throw")) << code;
  EXPECT_TRUE(HasWord(code, "g")) << code;
  EXPECT_TRUE(HasWord(CodeOnly("int f() { throw 1; }"), "throw"));
}

TEST(FindWordTest, WantsWholeWords) {
  EXPECT_EQ(FindWord("strand rand(", "rand"), 7u);
  EXPECT_FALSE(HasWord("operand", "rand"));
  EXPECT_FALSE(HasWord("rand_", "rand"));
  EXPECT_TRUE(HasWord("std::mutex m;", "std::mutex"));
}

TEST(IncludesTest, ReadsBothForms) {
  const auto includes = Includes("// x\n#include <vector>\n#include \"base/file.h\"\n");
  ASSERT_EQ(includes.size(), 2u);
  EXPECT_EQ(includes[0].path, "vector");
  EXPECT_FALSE(includes[0].quoted);
  EXPECT_EQ(includes[1].line, 3);
  EXPECT_EQ(includes[1].path, "base/file.h");
  EXPECT_TRUE(includes[1].quoted);
}

TEST(ReadTreeTest, SeesTheProject) {
  const auto files = ReadTree(CHIMERA_SOURCE_DIR);
  EXPECT_GT(files.size(), 100u);
  const auto has = [&](const std::string& path) {
    return std::any_of(files.begin(), files.end(),
                       [&](const SourceFile& f) { return f.path == path; });
  };
  EXPECT_TRUE(has("libs/base/file.cc"));
  EXPECT_TRUE(has("tests/tidy/source_tree_test.cc"));
  EXPECT_TRUE(has("CMakeLists.txt"));
}

}  // namespace
}  // namespace chimera::tidy
