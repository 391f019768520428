// Base-3 files, Sherry and the low-rank correction through the whole model: what is stored, what is
// refused, and that serving computes what training does.
#include "model/ternary_switches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/file.h"
#include "base/philox.h"
#include "config/inspect.h"
#include "layers/low_rank.h"
#include "model/b158_format.h"
#include "model/model_testing.h"
#include "model/network.h"
#include "model/planes_testing.h"
#include "model/repack.h"
#include "model/step.h"
#include "model/weight_file.h"
#include "ternary/packing.h"

namespace chimera {
namespace {

constexpr char kPlain[] = R"("method": "bitnet")";
constexpr char kBase3[] = R"("packing": "base3")";
constexpr char kSherry[] = R"("sherry_mode": {"enabled": true})";
constexpr char kHgf[] = R"("hgf_correction": {"enabled": true})";

const PlaneRun kTwoThreads = {.threads = 2};

std::string Both(const char* a, const char* b) { return std::string(a) + ", " + b; }

// Fresh parameters; corrections get a B, which starts at zero.
Parameters Fresh(const ModelConfig& config) {
  Parameters parameters(config);
  parameters.Initialize(config, 4);
  const PhiloxStream rng(13, RngPurpose::kWeightInit, 0);
  for (const Parameters::Entry& e : parameters.entries()) {
    if (!e.spec.name.ends_with(kHgfB)) continue;
    for (int64_t i = 0; i < e.size; ++i) {
      parameters.values()[size_t(e.offset + i)] = rng.Uniform(uint64_t(e.offset + i)) - 0.5f;
    }
  }
  return parameters;
}

// A model folder with these parameters.
std::shared_ptr<const Model> Served(const std::string& name, const Config& config,
                                    const Parameters& parameters) {
  const std::string folder = TestModelFolder(name, config);
  const auto source = [&](const std::string& tensor) { return parameters.value(tensor); };
  EXPECT_TRUE(WriteWeights(folder + "/" + kWeightsFile, config.model, source).ok());
  EXPECT_TRUE(WriteManifest(folder, "test").ok());
  auto model = Model::Load(folder);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

double Sum(const std::vector<float>& x) {
  double sum = 0;
  for (float v : x) sum += v;
  return sum;
}

TEST(TernarySwitches, LayoutFollowsTheConfig) {
  const auto plain = ModelLayout(TestConfigWith(kPlain).model);
  const auto count = [](const std::vector<TensorSpec>& specs, TensorKind kind) {
    return std::count_if(specs.begin(), specs.end(),
                         [kind](const TensorSpec& s) { return s.kind == kind; });
  };
  const auto maps = count(plain, TensorKind::kTernary);
  EXPECT_EQ(maps, 8);
  for (const auto& [keys, kind] :
       {std::pair{kBase3, TensorKind::kTernaryBase3}, {kSherry, TensorKind::kTernarySherry}}) {
    const auto specs = ModelLayout(TestConfigWith(keys).model);
    EXPECT_EQ(specs.size(), plain.size());
    EXPECT_EQ(count(specs, kind), maps);
    EXPECT_EQ(count(specs, TensorKind::kTernary), 0);
  }
  const auto hgf = ModelLayout(TestConfigWith(Both(kSherry, kHgf)).model);
  EXPECT_EQ(hgf.size(), plain.size() + 3 * size_t(maps));
  for (size_t i = 0; i < hgf.size(); ++i) {
    EXPECT_LE(hgf[i].name.size(), 55u);
    if (hgf[i].kind != TensorKind::kTernarySherry) continue;
    const std::string& name = hgf[i].name;
    ASSERT_LT(i + 3, hgf.size());
    EXPECT_EQ(hgf[i + 1].name, name + ".hgf_a");
    EXPECT_EQ(hgf[i + 1].cols, hgf[i].cols);
    EXPECT_EQ(hgf[i + 2].name, name + ".hgf_b");
    EXPECT_EQ(hgf[i + 2].rows, hgf[i].rows);
    EXPECT_EQ(hgf[i + 1].rows, kLowRank);
    EXPECT_EQ(hgf[i + 2].cols, kLowRank);
    EXPECT_EQ(hgf[i + 3].name, name + ".hgf_gate");
    EXPECT_EQ(hgf[i + 3].rows * hgf[i + 3].cols, 1);
  }
}

// The report's counts are those of the layout.
TEST(TernarySwitches, CorrectionsAreCountedAsTheyAreStored) {
  const ModelConfig model = TestConfigWith(kHgf).model;
  int64_t stored = 0;
  for (const TensorSpec& spec : ModelLayout(model)) {
    if (spec.name.find(".hgf_") != std::string::npos) stored += int64_t{spec.rows} * spec.cols;
  }
  EXPECT_EQ(CountParameters(model).hgf, stored);
  EXPECT_GT(stored, 0);
}

// The packing of a file is no part of what the model computes.
TEST(TernarySwitches, Base3FileIsSmallerAndServesTheSameBits) {
  const Config plain = TestConfigWith(kPlain), base3 = TestConfigWith(kBase3);
  const Parameters parameters = Fresh(plain.model);
  const auto a = Served("lanes", plain, parameters), b = Served("base3", base3, parameters);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  size_t codes = 0, packed = 0;
  for (const TensorSpec& spec : ModelLayout(plain.model)) {
    if (!IsTernary(spec.kind)) continue;
    codes += TernaryCodeBytes(spec.rows, spec.cols);
    packed += Base3Bytes(spec.rows, spec.cols);
  }
  // Payloads begin at multiples of 64.
  EXPECT_NEAR(double(a->weight_bytes() - b->weight_bytes()), double(codes - packed), 64 * 10);
  EXPECT_LT(packed, codes) << "a little: 64 columns pad a tile of twenty most";
  EXPECT_EQ(Base3Bytes(16, 2560) * 5, TernaryCodeBytes(16, 2560) * 4);
  const auto tokens = RandomTokens(150, 1024, 12);
  EXPECT_EQ(ServeNll(*a, tokens, 64, kTwoThreads), ServeNll(*b, tokens, 64, kTwoThreads));
  for (size_t i = 0; i < a->weights().layers().size(); ++i) {
    const LinearView& x = a->weights().layers()[i].ffn.w_in;
    const LinearView& y = b->weights().layers()[i].ffn.w_in;
    EXPECT_EQ(y.ternary.packing, TritPacking::kBase3) << "served as it is mapped";
    RepackedTensors unpacked;
    const size_t bytes = TernaryCodeBytes(x.rows, x.cols);
    EXPECT_EQ(std::memcmp(x.ternary.codes, unpacked.TwoBit(y.ternary).codes, bytes), 0);
  }
}

// DESIGN D1 under every switch: what the trainer reports is what the server reproduces, and prefill
// is plain decode. The bounds are those of the plain model.
TEST(TernarySwitches, ServingEqualsTraining) {
  const auto tokens = RandomTokens(300, 1024, 12);
  for (const std::string& keys : {std::string(kBase3), std::string(kSherry), std::string(kHgf),
                                  Both(kSherry, kHgf), Both(kBase3, kHgf)}) {
    const Config config = TestConfigWith(keys);
    Parameters parameters = Fresh(config.model);
    const auto model = Served("equal", config, parameters);
    ASSERT_NE(model, nullptr);
    const auto serve = ServeNll(*model, tokens, 64, kTwoThreads);
    EXPECT_EQ(ServeNll(*model, tokens, 1, kTwoThreads), serve) << keys;
    EXPECT_EQ(ServeNll(*model, tokens, 7, kTwoThreads), serve) << keys;
    const auto train = TrainNll(config.model, &parameters, tokens, kTwoThreads, true);
    double difference = 0;
    for (size_t i = 0; i < serve.size(); ++i) {
      difference += std::abs(double(serve[i]) - double(train[i]));
    }
    EXPECT_LE(difference / double(serve.size()), 5e-3) << keys;
    EXPECT_NEAR(Sum(serve) / Sum(train), 1.0, 1e-3) << keys;
  }
}

// Ablation: off changes the result. A correction acts once its B has left zero, not before.
TEST(TernarySwitches, EachSwitchChangesTheLoss) {
  const auto tokens = RandomTokens(120, 1024, 12);
  const auto loss = [&](const std::string& keys, double progress, bool zero_b) {
    const Config config = TestConfigWith(keys);
    Parameters parameters = Fresh(config.model);
    // The tensors all models share have equal values, whatever stands between them.
    const Config plain = TestConfigWith(kPlain);
    Parameters shared(plain.model);
    shared.Initialize(plain.model, 4);
    for (const Parameters::Entry& e : parameters.entries()) {
      float* to = parameters.values().data() + e.offset;
      if (shared.Find(e.spec.name) != nullptr) {
        const auto from = shared.value(e.spec.name);
        std::copy(from.begin(), from.end(), to);
      } else if (zero_b && e.spec.name.ends_with(kHgfB)) {
        std::fill_n(to, e.size, 0.0f);
      }
    }
    parameters.SetProgress(progress);
    return Sum(TrainNll(config.model, &parameters, tokens, kTwoThreads, true));
  };
  const double plain = loss(kPlain, 1, false);
  EXPECT_EQ(loss(kBase3, 1, false), plain) << "a packing changes files only";
  EXPECT_NE(loss(kSherry, 1, false), plain);
  EXPECT_NE(loss(kSherry, 0.3, false), loss(kSherry, 1, false)) << "the residual acts";
  EXPECT_EQ(loss(kPlain, 0.3, false), plain) << "there is none in absmean maps";
  EXPECT_EQ(loss(kHgf, 1, true), plain) << "B = 0: the plain model";
  EXPECT_NE(loss(kHgf, 1, false), plain);
  EXPECT_EQ(loss(kHgf, 0, false), plain) << "the gate warms up from zero";
  EXPECT_NE(loss(kHgf, 0.05, false), loss(kHgf, 1, false));
}

TEST(TernarySwitches, EveryTensorOfACorrectionLearnsAndGatesFreeze) {
  const Config config = TestConfigWith(kHgf);
  const auto tokens = RandomTokens(100, 1024, 12);
  for (double progress : {0.5, kGateFreeze}) {
    Parameters parameters = Fresh(config.model);
    parameters.SetProgress(progress);
    TrainNll(config.model, &parameters, tokens, kTwoThreads, true);
    int gates = 0;
    for (const Parameters::Entry& e : parameters.entries()) {
      double norm = 0;
      for (int64_t i = 0; i < e.size; ++i) {
        norm += std::abs(parameters.grads()[size_t(e.offset + i)]);
      }
      const bool gate = e.spec.name.ends_with(kHgfGate);
      gates += gate;
      EXPECT_EQ(e.frozen, gate && progress >= kGateFreeze) << e.spec.name;
      EXPECT_EQ(norm > 0, !e.frozen) << e.spec.name;
      if (gate) {
        EXPECT_EQ(parameters.values()[size_t(e.offset)], 0.1f);
      }
    }
    EXPECT_EQ(gates, 8);
  }
}

// There and back is the same file, and the same model.
TEST(TernarySwitches, RepackingIsExactBothWays) {
  const std::string from = TestModelFolder("repack", TestConfigWith(Both(kPlain, kHgf)));
  const std::string small = TestFolder("repack_small"), back = TestFolder("repack_back");
  ASSERT_TRUE(RepackModel(from, {.packing = TernaryPacking::kBase3}, small).ok());
  ASSERT_TRUE(RepackModel(small, {.packing = TernaryPacking::kRowsInLanes}, back).ok());
  const auto weights = [](const std::string& folder) {
    return *ReadFile(folder + "/" + kWeightsFile, 64 << 20);
  };
  EXPECT_EQ(weights(back), weights(from));
  EXPECT_LT(weights(small).size(), weights(from).size());
  const auto a = Model::Load(from), b = Model::Load(small);
  ASSERT_TRUE(a.ok() && b.ok()) << b.status();
  const auto tokens = RandomTokens(80, 1024, 12);
  EXPECT_EQ(ServeNll(**a, tokens, 16, kTwoThreads), ServeNll(**b, tokens, 16, kTwoThreads));

  EXPECT_EQ(RepackModel(from, {.packing = TernaryPacking::kBase3}, small).status().code(),
            absl::StatusCode::kAlreadyExists);
  const std::string sherry = TestModelFolder("repack_sherry", TestConfigWith(kSherry));
  for (const std::string& folder : {sherry, TestModelFolder("repack_float", false)}) {
    const absl::Status status =
        RepackModel(folder, {.packing = TernaryPacking::kBase3}, TestFolder("repack_no")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find(folder), absl::string_view::npos) << status;
  }
}

class PackedFiles : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    config_ = TestConfigWith(GetParam());
    folder_ = TestModelFolder("packed", config_);
    good_ = *ReadFile(Path(), 64 << 20);
    const auto specs = ModelLayout(config_.model);
    while (!IsTernary(specs[index_].kind)) ++index_;
    spec_ = specs[index_];
    std::memcpy(&record_, good_.data() + RecordAt(), sizeof(record_));
  }
  std::string Path() const { return folder_ + "/" + kWeightsFile; }
  size_t RecordAt() const { return sizeof(B158Header) + index_ * sizeof(B158Record); }

  absl::Status Load(const std::string& bytes) { return Load(bytes, config_); }
  absl::Status Load(const std::string& bytes, const Config& config) {
    EXPECT_TRUE(WriteFileAtomic(Path(), bytes).ok());
    return Weights::Map(Path(), config.model).status();
  }
  // The file with its first ternary payload changed and everything signed anew.
  std::string WithPayload(const std::function<void(uint8_t*)>& change) const {
    std::string bytes = good_;
    change(reinterpret_cast<uint8_t*>(bytes.data()) + record_.offset);
    B158Record record = record_;
    record.checksum = Xxh3(std::string_view(bytes).substr(record.offset, record.bytes));
    std::memcpy(bytes.data() + RecordAt(), &record, sizeof(record));
    B158Header header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    header.table_checksum =
        Xxh3(std::string_view(bytes).substr(sizeof(header), header.table_bytes));
    header.header_checksum = Xxh3(std::string_view(reinterpret_cast<const char*>(&header), 48));
    std::memcpy(bytes.data(), &header, sizeof(header));
    return bytes;
  }

  Config config_;
  std::string folder_, good_;
  size_t index_ = 0;
  TensorSpec spec_;
  B158Record record_;
};

TEST_P(PackedFiles, DamageIsRefused) {
  EXPECT_TRUE(Load(good_).ok());
  for (size_t size : {size_t{63}, size_t{400}, good_.size() / 2, good_.size() - 1}) {
    EXPECT_EQ(Load(good_.substr(0, size)).code(), absl::StatusCode::kDataLoss) << size;
  }
  const PhiloxStream rng(2, RngPurpose::kDataShuffle, 0);
  for (uint64_t i = 0; i < 40; ++i) {
    std::string bytes = good_;
    bytes[record_.offset + rng.Word(2 * i) % record_.bytes] ^=
        static_cast<char>(1u << (rng.Word(2 * i + 1) % 8));
    EXPECT_EQ(Load(bytes).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_TRUE(Load(WithPayload([](uint8_t*) {})).ok()) << "signing anew is sound";
  // Scales stand before the trits of Sherry and after those of base 3.
  const size_t scales =
      spec_.kind == TensorKind::kTernarySherry ? 0 : Base3Bytes(spec_.rows, spec_.cols);
  const absl::Status inf =
      Load(WithPayload([scales](uint8_t* p) { p[scales] = 0, p[scales + 1] = 0x7c; }));
  EXPECT_EQ(inf.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(inf.message().find("scale that is not finite"), absl::string_view::npos) << inf;
}

TEST_P(PackedFiles, AnotherPackingThanTheConfigsIsRefused) {
  for (const char* other : {kPlain, kBase3, kSherry}) {
    const absl::Status status = Load(good_, TestConfigWith(other));
    EXPECT_EQ(status.ok(), TestConfigWith(other).model.quant.packing == config_.model.quant.packing)
        << other << ": " << status;
    if (!status.ok()) {
      EXPECT_NE(status.message().find(spec_.name), absl::string_view::npos) << status;
    }
  }
}

// Valid checksums, impossible bytes: all thirteen, in the first, a middle and the last place.
TEST_P(PackedFiles, BytesOutsideTheCodeAreRefused) {
  if (spec_.kind != TensorKind::kTernaryBase3) GTEST_SKIP() << "Sherry has no impossible bytes";
  const size_t last = Base3Bytes(spec_.rows, spec_.cols) - 1;
  int refused = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (Base3Valid(static_cast<uint8_t>(byte))) continue;
    for (const size_t at : {size_t{0}, last / 2, last}) {
      const absl::Status status =
          Load(WithPayload([&](uint8_t* p) { p[at] = static_cast<uint8_t>(byte); }));
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << byte << " at " << at;
      EXPECT_NE(status.message().find(spec_.name + " holds a byte that stands for no five trits"),
                absl::string_view::npos)
          << status;
      ++refused;
    }
  }
  EXPECT_EQ(refused, 39);
}

INSTANTIATE_TEST_SUITE_P(Packings, PackedFiles, testing::Values(kBase3, kSherry),
                         [](const auto& info) { return info.index == 0 ? "Base3" : "Sherry"; });

}  // namespace
}  // namespace chimera
