#include "tidy/include_checks.h"

#include <gtest/gtest.h>

namespace chimera::tidy {
namespace {

using Files = std::vector<SourceFile>;

TEST(TreeTest, FloorsHold) {
  const auto findings = CheckFloors(ReadTree(CHIMERA_SOURCE_DIR));
  EXPECT_TRUE(findings.empty()) << Format(findings);
}

TEST(TreeTest, KernelsStayFreeOfAbseil) {
  const auto findings = CheckKernelIncludes(ReadTree(CHIMERA_SOURCE_DIR));
  EXPECT_TRUE(findings.empty()) << Format(findings);
}

TEST(TreeTest, SourcesIncludeTheirHeaderFirst) {
  const auto findings = CheckOwnHeaderFirst(ReadTree(CHIMERA_SOURCE_DIR));
  EXPECT_TRUE(findings.empty()) << Format(findings);
}

TEST(TreeTest, EverySourceIsBuilt) {
  const auto findings = CheckInBuild(ReadTree(CHIMERA_SOURCE_DIR));
  EXPECT_TRUE(findings.empty()) << Format(findings);
}

TEST(ReachableTest, FollowsTheTable) {
  const auto below = Reachable(Floors());
  EXPECT_EQ(below.size(), Floors().size());
  EXPECT_TRUE(below.at("base").empty());
  EXPECT_TRUE(below.at("model").contains("base"));
  EXPECT_TRUE(below.at("cluster").contains("ternary"));
  EXPECT_FALSE(below.at("model").contains("decode"));
  EXPECT_FALSE(below.at("decode").contains("model"));
  for (const auto& [library, libraries] : below) EXPECT_FALSE(libraries.contains(library));
}

TEST(FloorsTest, CatchesBadSamples) {
  const auto count = [](const std::string& path, const std::string& include) {
    return CheckFloors({{"libs/base/a.h", ""},
                        {"libs/decode/a.h", ""},
                        {"libs/model/a.h", ""},
                        {path, "#include " + include + "\n"}})
        .size();
  };
  EXPECT_EQ(count("libs/base/b.cc", "\"model/a.h\""), 1u);
  EXPECT_EQ(count("libs/decode/b.cc", "\"model/a.h\""), 1u);
  EXPECT_EQ(count("libs/model/b.cc", "\"base/a.h\""), 0u);
  EXPECT_EQ(count("libs/base/b.cc", "<model>"), 0u);  // a system header of the same name
  EXPECT_EQ(count("libs/model/b.cc", "\"services/roles.h\""), 1u);
  EXPECT_EQ(count("libs/model/b.cc", "<grpcpp/grpcpp.h>"), 1u);
  EXPECT_EQ(count("libs/cluster/b.cc", "<grpcpp/grpcpp.h>"), 0u);
  EXPECT_EQ(count("libs/attic/b.cc", "\"base/a.h\""), 1u);  // an unknown library
  EXPECT_EQ(count("services/knot/b.cc", "\"services/surface/a.h\""), 1u);
  EXPECT_EQ(count("services/knot/b.cc", "\"services/knot/a.h\""), 0u);
  EXPECT_EQ(count("services/knot/b.cc", "\"services/roles.h\""), 0u);
  EXPECT_EQ(count("services/roles.h", "\"services/knot/a.h\""), 1u);
  EXPECT_EQ(count("services/cli/b.cc", "\"services/knot/a.h\""), 0u);
  EXPECT_EQ(count("services/b_test.cc", "\"services/knot/a.h\""), 0u);
}

TEST(KernelIncludesTest, CatchesBadSamples) {
  const Files bad = {{"libs/x/k_body.cc", "#include \"x/a.h\"\n"},
                     {"libs/x/a.h", "#include \"x/b.h\"\n"},
                     {"libs/x/b.h", "#include \"absl/status/status.h\"\n"}};
  ASSERT_EQ(CheckKernelIncludes(bad).size(), 1u);
  EXPECT_EQ(CheckKernelIncludes(bad)[0].path, "libs/x/b.h");
  const Files good = {{"libs/x/k_body.cc", "#include <cstdint>\n#include \"x/a.h\"\n"},
                      {"libs/x/a.h", ""},
                      {"libs/x/b.cc", "#include \"absl/status/status.h\"\n"}};
  EXPECT_TRUE(CheckKernelIncludes(good).empty());
}

TEST(OwnHeaderFirstTest, CatchesBadSamples) {
  const SourceFile header = {"libs/x/a.h", ""};
  EXPECT_EQ(CheckOwnHeaderFirst({header, {"libs/x/a.cc", "#include <vector>\n"}}).size(), 1u);
  EXPECT_EQ(CheckOwnHeaderFirst({header, {"libs/x/a.cc", "#include \"x/a.h\"\n"}}).size(), 0u);
  EXPECT_EQ(CheckOwnHeaderFirst({header, {"libs/x/b.cc", "#include <vector>\n"}}).size(), 0u);
}

TEST(InBuildTest, CatchesBadSamples) {
  const SourceFile list = {"libs/x/CMakeLists.txt", "SRCS a.cc\nforeach(body relu)\n"};
  EXPECT_EQ(CheckInBuild({list, {"libs/x/a.cc", ""}}).size(), 0u);
  EXPECT_EQ(CheckInBuild({list, {"libs/x/relu_body.cc", ""}}).size(), 0u);
  EXPECT_EQ(CheckInBuild({list, {"libs/x/b.cc", ""}}).size(), 1u);
  const SourceFile bodies = {"libs/x/bodies.cmake", "foreach(body tanh)\n"};
  EXPECT_EQ(CheckInBuild({list, bodies, {"libs/x/relu_body.cc", ""}, {"libs/x/a.cc", ""}}).size(),
            0u);
  EXPECT_EQ(CheckInBuild({list, bodies, {"libs/x/tanh_body.cc", ""}}).size(), 0u);
  EXPECT_EQ(CheckInBuild({list, {"libs/x/b_a.cc", ""}}).size(), 1u);
}

}  // namespace
}  // namespace chimera::tidy
