#include "layers/kernel_testing.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gtest/gtest.h"

namespace chimera {
namespace {

void Flatten(const nlohmann::json& node, Doubles* out) {
  if (node.is_array()) {
    for (const nlohmann::json& child : node) Flatten(child, out);
  } else {
    out->push_back(node.get<double>());
  }
}

const nlohmann::json& GoldenFile(const std::string& file) {
  static std::map<std::string, nlohmann::json>* files = new std::map<std::string, nlohmann::json>;
  const auto found = files->find(file);
  if (found != files->end()) return found->second;
  std::ifstream in(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/" + file + ".json");
  std::stringstream text;
  text << in.rdbuf();
  return (*files)[file] = nlohmann::json::parse(text.str(), nullptr, false);
}

template <typename Got>
void ExpectCloseImpl(const Got& got, const Doubles& want, double tol, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(got[i] - want[i]) / (1 + std::abs(want[i]));
    if (!(error <= worst)) {  // also takes NaN
      worst = error;
      at = i;
    }
  }
  EXPECT_LE(worst, tol) << what << "[" << at << "] = " << got[at] << ", want " << want[at];
}

}  // namespace

Doubles Golden(const std::string& file, const std::string& golden_case, const std::string& group,
               const std::string& name) {
  const nlohmann::json* node = &GoldenFile(file);
  std::stringstream path("cases/" + golden_case + "/" + group + "/" + name);
  for (std::string part; std::getline(path, part, '/');) {
    if (part.empty()) continue;  // no group
    if (node->is_array() && std::stoul(part) < node->size()) {
      node = &(*node)[std::stoul(part)];
      continue;
    }
    if (!node->is_object() || !node->contains(part)) {
      ADD_FAILURE() << file << " lacks " << path.str();
      return {};
    }
    node = &(*node)[part];
  }
  Doubles out;
  Flatten(node->is_object() ? (*node)["data"] : *node, &out);
  return out;
}

Floats ToFloats(const Doubles& x) { return Floats(x.begin(), x.end()); }
Doubles ToDoubles(const Floats& x) { return Doubles(x.begin(), x.end()); }

void ExpectClose(const Floats& got, const Doubles& want, double tol, const std::string& what) {
  ExpectCloseImpl(got, want, tol, what);
}
void ExpectClose(const Doubles& got, const Doubles& want, double tol, const std::string& what) {
  ExpectCloseImpl(got, want, tol, what);
}

void ExpectSame(const Floats& got, const Floats& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof(float)), 0)
        << what << "[" << i << "] = " << got[i] << ", want " << want[i];
  }
}

void ExpectFinite(const Floats& x, const std::string& what) {
  for (size_t i = 0; i < x.size(); ++i) ASSERT_TRUE(std::isfinite(x[i])) << what << "[" << i << "]";
}

Floats Noise(int64_t n, float scale, float offset, uint32_t seed) {
  Floats x(static_cast<size_t>(n));
  uint32_t state = seed * 2654435761u + 97u;
  for (float& value : x) {
    state = state * 1664525u + 1013904223u;
    const float unit = static_cast<float>(static_cast<int32_t>(state >> 16) - 32768) / 32768.0f;
    value = offset + scale * unit;
  }
  return x;
}

std::vector<Isa> RunnableIsas() {
  std::vector<Isa> isas;
  for (const Isa isa : kEveryIsa) {
    if (Runs(isa)) isas.push_back(isa);
  }
  return isas;
}

double Inner(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace chimera
