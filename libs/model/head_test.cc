// The embedding and output head in every packing: files, damage, conversion, mask-first products,
// and training as it serves.
#include "model/head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/philox.h"
#include "model/b158_format.h"
#include "model/model.h"
#include "model/model_testing.h"
#include "model/planes_testing.h"
#include "model/repack.h"
#include "model/step.h"
#include "model/weight_file.h"

namespace chimera {
namespace {

constexpr PlaneRun kTwoThreads{.threads = 2};

std::string Bits(int bits) { return R"("head_bits": )" + std::to_string(bits); }

std::shared_ptr<const Model> Loaded(const std::string& folder) {
  auto model = Model::Load(folder);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

TEST(Head, OnlyTheEmbeddingFollowsHeadBits) {
  const auto plain = ModelLayout(TestConfigWith(Bits(8), TestShape::kFull).model);
  for (const auto& [bits, kind] :
       {std::pair{8, TensorKind::kInt8Rows}, std::pair{6, TensorKind::kGroupedRows6},
        std::pair{4, TensorKind::kGroupedRows4}}) {
    const auto specs = ModelLayout(TestConfigWith(Bits(bits), TestShape::kFull).model);
    ASSERT_EQ(specs.size(), plain.size());
    EXPECT_EQ(specs[0].name, "embedding");
    EXPECT_EQ(specs[0].kind, kind);
    for (size_t i = 1; i < specs.size(); ++i) EXPECT_EQ(specs[i].kind, plain[i].kind);
  }
  EXPECT_EQ(PayloadBytes(TensorKind::kGroupedRows4, 1080, 64), 1088u * 64 / 2 + 1088 * 2);
  EXPECT_EQ(PayloadBytes(TensorKind::kGroupedRows6, 1080, 64), 1088u * 64 * 3 / 4 + 1088 * 2);
}

// The listed tiles and their bits, whatever packs the rows, with as many threads as there are.
TEST(Head, TilesHaveTheBitsOfTheWhole) {
  for (const std::string& keys : {Bits(8), Bits(6), Bits(4), std::string(R"("method": "none")")}) {
    const auto model = Loaded(TestModelFolder("head_tiles", TestConfigWith(keys)));
    ASSERT_NE(model, nullptr);
    const int vocab = model->shape().vocab_size, tiles = RowTiles(vocab);
    ASSERT_NE(vocab % kRowTile, 0) << "the last tile is padded";
    for (int threads : {1, 2}) {
      ExecContext exec(threads);
      Stepper stepper(*model, &exec);
      BraidState state(model->shape());
      std::vector<float> whole(static_cast<size_t>(vocab));
      const auto step = stepper.Step(&state, 5);
      const std::vector<float> hidden(step.begin(), step.end());
      stepper.Logits(hidden, 1, whole);
      const PhiloxStream rng(3, RngPurpose::kDataShuffle, 0);
      for (uint32_t keep : {0u, 1u, 13u, 15u, 16u}) {
        std::vector<int32_t> listed = {tiles - 1};
        for (int tile = 0; tile + 1 < tiles; ++tile) {
          if (rng.Word(static_cast<uint64_t>(tile)) % 16 < keep) listed.push_back(tile);
        }
        std::vector<float> some(listed.size() * kRowTile, -1.0f);
        stepper.LogitsOfTiles(hidden, listed, some);
        for (size_t i = 0; i < some.size(); ++i) {
          const int row = listed[i / kRowTile] * kRowTile + static_cast<int>(i % kRowTile);
          const float want = row < vocab ? whole[static_cast<size_t>(row)] : 0.0f;
          ASSERT_EQ(some[i], want) << keys << ", row " << row;
        }
      }
    }
  }
}

// What serving looks up is what the file's rows stand for, and what the head multiplies with.
TEST(Head, LookupAndLogitsReadTheSameRows) {
  for (const std::string& keys : {Bits(8), Bits(6), Bits(4), std::string(R"("method": "none")")}) {
    const auto model = Loaded(TestModelFolder("head_rows", TestConfigWith(keys)));
    ASSERT_NE(model, nullptr);
    const HeadView& head = model->weights().head();
    const auto d = static_cast<size_t>(head.cols);
    ExecContext exec(1);
    Stepper stepper(*model, &exec);
    std::vector<float> x(d), row(d), logits(static_cast<size_t>(head.rows));
    for (size_t i = 0; i < d; ++i) x[i] = std::sin(static_cast<float>(i));
    stepper.Logits(x, 1, logits);
    for (int r : {0, 1, 17, 1079}) {
      HeadRow(head, r, row.data());
      double want = 0;
      for (size_t i = 0; i < d; ++i) want += double{row[i]} * double{x[i]};
      EXPECT_NEAR(logits[static_cast<size_t>(r)], want, 0.02) << keys << " row " << r;
    }
  }
}

// DESIGN D1: what the trainer reports is what the server reproduces, and prefill is plain decode.
TEST(Head, ServingEqualsTraining) {
  const auto tokens = RandomTokens(200, 1024, 12);
  std::vector<double> losses;
  for (int bits : {8, 6, 4}) {
    const Config config = TestConfigWith(Bits(bits));
    const std::string folder = TestModelFolder("head_equal", config, 4);
    const auto model = Loaded(folder);
    ASSERT_NE(model, nullptr);
    Parameters parameters(config.model);
    parameters.Initialize(config.model, 4);
    const auto serve = ServeNll(*model, tokens, 64, kTwoThreads);
    EXPECT_EQ(ServeNll(*model, tokens, 1, kTwoThreads), serve) << bits;
    const auto train = TrainNll(config.model, &parameters, tokens, kTwoThreads, true);
    double difference = 0, sum = 0;
    for (size_t i = 0; i < serve.size(); ++i) {
      difference += std::abs(double{serve[i]} - double{train[i]});
      sum += double{serve[i]};
    }
    EXPECT_LE(difference / double(serve.size()), 5e-3) << bits;
    losses.push_back(sum);
    double norm = 0;
    for (int64_t i = 0; i < parameters.entry("embedding").size; ++i) {
      norm += std::abs(parameters.grads()[static_cast<size_t>(i)]);
    }
    EXPECT_GT(norm, 0) << bits;
  }
  EXPECT_NE(losses[0], losses[1]);
  EXPECT_NE(losses[0], losses[2]) << "the rows that train are those of the bits";
}

class HeadFiles : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    config_ = TestConfigWith(Bits(GetParam()));
    folder_ = TestModelFolder("head_file", config_);
    good_ = *ReadFile(Path(), 64 << 20);
    std::memcpy(&record_, good_.data() + sizeof(B158Header), sizeof(record_));
  }
  std::string Path() const { return folder_ + "/" + kWeightsFile; }
  absl::Status Load(const std::string& bytes, const Config& config) {
    EXPECT_TRUE(WriteFileAtomic(Path(), bytes).ok());
    return Weights::Map(Path(), config.model).status();
  }
  // The file with the embedding's record and payload changed and everything signed anew.
  std::string With(const std::function<void(B158Record*, uint8_t*)>& change) const {
    std::string bytes = good_;
    B158Record record = record_;
    change(&record, reinterpret_cast<uint8_t*>(bytes.data()) + record_.offset);
    record.checksum = Xxh3(std::string_view(bytes).substr(record_.offset, record_.bytes));
    std::memcpy(bytes.data() + sizeof(B158Header), &record, sizeof(record));
    B158Header header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    header.table_checksum =
        Xxh3(std::string_view(bytes).substr(sizeof(header), header.table_bytes));
    header.header_checksum = Xxh3(std::string_view(reinterpret_cast<const char*>(&header), 48));
    std::memcpy(bytes.data(), &header, sizeof(header));
    return bytes;
  }
  void ExpectRefused(const std::string& bytes, const std::string& fault) {
    const absl::Status status = Load(bytes, config_);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_NE(status.message().find(fault), absl::string_view::npos) << status;
  }

  Config config_;
  std::string folder_, good_;
  B158Record record_;
};

TEST_P(HeadFiles, DamageIsRefusedByName) {
  const auto nothing = [](B158Record*, uint8_t*) {};
  EXPECT_TRUE(Load(With(nothing), config_).ok()) << "signing anew is sound";
  const uint64_t scales = GroupedCodeBytes(GetParam(), 1080, 64), end = record_.bytes;
  for (uint64_t at : {scales, end - 2}) {
    for (int high : {0x7c, 0xfc, 0x7e}) {  // infinities and a NaN
      ExpectRefused(With([&](B158Record*, uint8_t* p) {
                      p[at] = 0;
                      p[at + 1] = static_cast<uint8_t>(high);
                    }),
                    "tensor embedding has a scale that is not finite");
    }
  }
  // Every code is a level.
  EXPECT_TRUE(
      Load(With([&](B158Record*, uint8_t* p) { std::memset(p, 0xff, scales); }), config_).ok());
  ExpectRefused(With([](B158Record* r, uint8_t*) { r->bytes -= 64; }), "tensor embedding has");
  ExpectRefused(With([](B158Record* r, uint8_t*) { r->bytes = ~uint64_t{0}; }),
                "tensor embedding has");
  ExpectRefused(With([](B158Record* r, uint8_t*) { r->kind = r->kind == 7 ? 8 : 7; }),
                "the config implies kind");
  ExpectRefused(With([](B158Record* r, uint8_t*) { r->rows += 16; }), "the config implies kind");
  for (uint64_t at : {uint64_t{0}, scales - 1, scales, end - 1}) {
    std::string bytes = good_;
    bytes[record_.offset + at] ^= 1;
    ExpectRefused(bytes, "tensor embedding: payload checksum mismatch");
  }
}

TEST_P(HeadFiles, OtherBitsThanTheConfigsAreRefused) {
  for (int bits : {8, 6, 4}) {
    const absl::Status status = Load(good_, TestConfigWith(Bits(bits)));
    EXPECT_EQ(status.ok(), bits == GetParam()) << status;
    if (!status.ok()) {
      EXPECT_NE(status.message().find("tensor embedding is kind"), absl::string_view::npos);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, HeadFiles, testing::Values(6, 4));

// The rows of a converted head are those of the source rounded; nothing else changes.
TEST(HeadConversion, RoundsTheRowsAndNothingElse) {
  const std::string from = TestModelFolder("convert", TestConfigWith(Bits(8), TestShape::kFull));
  const auto source = Loaded(from);
  ASSERT_NE(source, nullptr);
  for (int bits : {6, 4}) {
    const std::string to = TestFolder("convert_to");
    const auto id = RepackModel(from, {.head_bits = bits}, to);
    ASSERT_TRUE(id.ok()) << id.status();
    const auto model = Loaded(to);
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->id(), *id);
    EXPECT_EQ(model->shape().quant.head_bits, bits);
    EXPECT_LT(model->weight_bytes(), source->weight_bytes());
    EXPECT_EQ(HeadBytes(model->weights().head()),
              static_cast<int64_t>(model->weights().payload("embedding").size()));
    for (const TensorSpec& spec : ModelLayout(source->shape())) {
      const auto before = source->weights().payload(spec.name);
      const auto after = model->weights().payload(spec.name);
      if (spec.name == "embedding") {
        std::vector<float> rows(size_t(spec.rows) * size_t(spec.cols));
        for (int r = 0; r < spec.rows; ++r) {
          HeadRow(source->weights().head(), r, rows.data() + r * spec.cols);
        }
        std::vector<uint8_t> codes(GroupedCodeBytes(bits, spec.rows, spec.cols));
        std::vector<uint16_t> scales(GroupedScaleCount(spec.rows, spec.cols));
        QuantizeGroupedRows(rows.data(), spec.rows, spec.cols, bits, codes.data(), scales.data());
        ASSERT_EQ(after.size(), codes.size() + 2 * scales.size());
        EXPECT_EQ(std::memcmp(after.data(), codes.data(), codes.size()), 0);
        EXPECT_EQ(std::memcmp(after.data() + codes.size(), scales.data(), 2 * scales.size()), 0);
      } else {
        ASSERT_EQ(before.size(), after.size()) << spec.name;
        EXPECT_EQ(std::memcmp(before.data(), after.data(), before.size()), 0) << spec.name;
      }
    }
  }
}

TEST(HeadConversion, BitsThatAreGoneDoNotComeBack) {
  const std::string from = TestModelFolder("gone", TestConfigWith(Bits(8)));
  const std::string six = TestFolder("gone6"), four = TestFolder("gone4"), both = TestFolder("b");
  ASSERT_TRUE(RepackModel(from, {.head_bits = 6}, six).ok());
  ASSERT_TRUE(RepackModel(six, {.packing = TernaryPacking::kBase3, .head_bits = 4}, four).ok());
  EXPECT_EQ(Loaded(four)->shape().quant.packing, TernaryPacking::kBase3);
  // A packing alone leaves the head as it is, and the same bits are the same bytes.
  ASSERT_TRUE(
      RepackModel(four, {.packing = TernaryPacking::kRowsInLanes, .head_bits = 4}, both).ok());
  const auto x = Loaded(four), y = Loaded(both);
  const auto a = x->weights().payload("embedding"), b = y->weights().payload("embedding");
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  const std::string none = TestFolder("none");
  for (const auto& [folder, bits] : {std::pair{six, 8}, {four, 6}, {four, 8}, {from, 5}}) {
    const absl::Status status = RepackModel(folder, {.head_bits = bits}, none).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find(std::to_string(bits)), absl::string_view::npos) << status;
  }
  EXPECT_EQ(RepackModel(TestModelFolder("float", false), {.head_bits = 4}, none).status().code(),
            absl::StatusCode::kInvalidArgument);
  // A model of Sherry keeps its trits.
  const std::string sherry =
      TestModelFolder("sherry", TestConfigWith(R"("sherry_mode": {"enabled": true})"));
  ASSERT_TRUE(RepackModel(sherry, {.head_bits = 4}, none).ok());
  EXPECT_TRUE(Loaded(none)->shape().quant.sherry());
}

}  // namespace
}  // namespace chimera
