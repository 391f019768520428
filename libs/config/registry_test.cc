#include "config/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/file.h"
#include "base/string_view.h"

namespace chimera {
namespace {

using testing::HasSubstr;

const std::string kConfigs = std::string(CHIMERA_SOURCE_DIR) + "/configs/";

// The ids of the feature list: letter and last number.
bool IsFeature(const std::string& id) {
  static const std::map<char, int> last = {{'C', 3}, {'M', 16}, {'S', 13}, {'H', 8}, {'E', 3},
                                           {'T', 6}, {'G', 4},  {'O', 7},  {'U', 4}};
  if (id.size() < 2 || id.size() > 3 || last.count(id[0]) == 0) return false;
  const std::string digits = id.substr(1);
  if (digits.find_first_not_of("0123456789") != std::string::npos || digits[0] == '0') return false;
  return std::stoi(digits) <= last.at(id[0]);
}

std::vector<KeyEntry> CoverageOf(const std::string& name, const std::string& scale) {
  std::vector<std::string> overlays;
  if (!scale.empty()) overlays.push_back(kConfigs + "scales/" + scale + ".json");
  auto config = LoadConfig(kConfigs + name, overlays);
  EXPECT_TRUE(config.ok()) << config.status();
  if (!config.ok()) return {};
  auto entries = Coverage(*config);
  EXPECT_TRUE(entries.ok()) << entries.status();
  return entries.ok() ? *entries : std::vector<KeyEntry>{};
}

// Coverage() fails for a key in no set and for one in two, so a result is the proof.
TEST(Registry, EveryKeyOfEveryConfigIsInExactlyOneSet) {
  for (const char* name : {"chimera-5.3.json", "chimera-5.1.json"}) {
    for (const char* scale : {"", "nano", "tiny", "small", "base"}) {
      const std::vector<KeyEntry> entries = CoverageOf(name, scale);
      EXPECT_GT(entries.size(), 400u);
      for (const KeyEntry& entry : entries) {
        EXPECT_FALSE(entry.where.empty()) << entry.path;
        EXPECT_EQ(entry.role == KeyRole::kPending, !entry.feature.empty()) << entry.path;
      }
    }
  }
}

TEST(Registry, ListedKeysExistOnceAndNameRealFeatures) {
  std::set<std::string> real;
  for (const char* name : {"chimera-5.3.json", "chimera-5.1.json"}) {
    for (const KeyEntry& entry : CoverageOf(name, "")) real.insert(entry.path);
  }
  std::set<std::string> listed;
  for (const ListedKey& key : ListedKeys()) {
    EXPECT_TRUE(listed.insert(key.path).second) << key.path << " is listed twice";
    EXPECT_EQ(real.count(key.path), 1u) << key.path << " exists in no config";
    EXPECT_NE(key.role, KeyRole::kClaimed) << key.path;
    EXPECT_NE(std::string("sinbax").find(key.type), std::string::npos) << key.path;
    if (key.role == KeyRole::kPending) {
      EXPECT_TRUE(IsFeature(key.feature)) << key.path << ": " << key.feature;
    } else {
      EXPECT_EQ(key.feature, "") << key.path;
    }
    EXPECT_FALSE(key.why.empty()) << key.path;
  }
}

TEST(Registry, FeatureIdsAreChecked) {
  for (const char* good : {"C1", "M16", "S13", "U4"}) EXPECT_TRUE(IsFeature(good)) << good;
  for (const char* bad : {"", "C4", "M17", "X1", "M0", "M", "M1a", "M01"}) {
    EXPECT_FALSE(IsFeature(bad)) << bad;
  }
}

TEST(Registry, UnclaimedAndDoublyClaimedKeysFail) {
  const Leaf leaf{"hidden_size", LeafType::kInt, "64"};
  EXPECT_TRUE(CoverLeaves({leaf}, {{"hidden_size", "model"}}).ok());
  // Nobody reads it.
  auto unread = CoverLeaves({leaf}, {});
  EXPECT_EQ(unread.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ToStd(unread.status().message())),
              HasSubstr("hidden_size is an unknown"));
  // Two places read it.
  EXPECT_EQ(
      CoverLeaves({leaf}, {{"hidden_size", "model"}, {"hidden_size", "text"}}).status().code(),
      absl::StatusCode::kInternal);
  // It is read and still listed.
  const Leaf listed{"files.weights", LeafType::kString, "\"w\""};
  EXPECT_TRUE(CoverLeaves({listed}, {}).ok());
  EXPECT_EQ(CoverLeaves({listed}, {{"files.weights", "model"}}).status().code(),
            absl::StatusCode::kInternal);
  // It has another type than listed.
  const Leaf mistyped{"files.weights", LeafType::kInt, "1"};
  EXPECT_EQ(CoverLeaves({mistyped}, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Registry, SwitchesThatDoNothingYetArePending) {
  std::map<std::string, KeyRole> roles;
  for (const KeyEntry& entry : CoverageOf("chimera-5.3.json", "")) roles[entry.path] = entry.role;
  for (const char* path : {"byte_level.enabled", "multimodal.enabled", "span_inference.enabled",
                           "training.phases[sft].lr", "entropy_valve.enabled"}) {
    EXPECT_EQ(roles.at(path), KeyRole::kPending) << path;
  }
  for (const char* path :
       {"quantization.sherry_mode.enabled", "quantization.sherry_mode.bits",
        "quantization.hgf_correction.enabled", "hidden_size", "training.phases[pretrain].lr",
        "generation.top_p", "backbone.moe.layers", "memory_budget_mb._vals", "params.base"}) {
    EXPECT_EQ(roles.at(path), KeyRole::kClaimed) << path;
  }
}

// An optional key loads with the value its absence stands for, is claimed, and changes nothing but
// the text.
TEST(Registry, OptionalKeysAreRead) {
  for (const KeyEntry& key : OptionalKeys()) {
    const size_t dot = key.path.find('.');
    ASSERT_NE(dot, std::string::npos);
    const std::string overlay = "{\"" + key.path.substr(0, dot) + "\":{\"" +
                                key.path.substr(dot + 1) + "\":" + key.value + "}}";
    auto text = ReadFile(kConfigs + "chimera-5.3.json", kConfigBytesMax);
    ASSERT_TRUE(text.ok());
    auto config = ParseConfig(*text, {overlay});
    ASSERT_TRUE(config.ok()) << config.status();
    auto entries = Coverage(*config);
    ASSERT_TRUE(entries.ok()) << entries.status();
    bool claimed = false;
    for (const KeyEntry& entry : *entries) {
      claimed |= entry.path == key.path && entry.role == KeyRole::kClaimed;
    }
    EXPECT_TRUE(claimed) << key.path;
  }
}

TEST(Registry, PageIsFresh) {
  auto config = LoadConfig(kConfigs + "chimera-5.3.json");
  auto other = LoadConfig(kConfigs + "chimera-5.1.json");
  ASSERT_TRUE(config.ok() && other.ok());
  auto page = CoverageMarkdown(*config, *other);
  ASSERT_TRUE(page.ok()) << page.status();
  auto written = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/docs/config.md", kConfigBytesMax);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_TRUE(*page == *written)
      << "docs/config.md is stale; refresh it with: build/release/bin/config_doc .";
  EXPECT_THAT(*page, HasSubstr("| `hidden_size` | `2560` | acts |"));
  EXPECT_THAT(*page, HasSubstr("| `byte_level.enabled` | `false` | pending M11 |"));
  EXPECT_THAT(*page, HasSubstr("## Keys of `chimera-5.1-final` only"));
  EXPECT_THAT(*page, HasSubstr("sparse_grad_w_masking.status"));
}

}  // namespace
}  // namespace chimera
