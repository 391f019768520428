#include "grammar/fstpack.h"

#include <unistd.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/philox.h"
#include "gmock/gmock.h"
#include "grammar/corpora_testing.h"
#include "grammar/grammar_testing.h"
#include "grammar/modes.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;
using Kind = GrammarSource::Kind;

constexpr size_t kHeaderBytes = 64, kChecksumAt = 16, kChecksumEnd = 24;

std::vector<GrammarSource> Sources() {
  return {{Kind::kMode, "json"},
          {Kind::kMode, "python"},
          {Kind::kRegex, ""},
          {Kind::kRegex, "[a-z]{1,12}( \\w+)*[.!?]"},
          {Kind::kEbnf, "root ::= '(' root ')' | root root | [a-z]{2,5} | ('x' 'y'?){3,1000000}"},
          {Kind::kJsonSchema, R"({"type": "string", "minLength": 2, "maxLength": 9})"},
          {Kind::kJsonSchema, R"({"type": "string", "pattern": "^[a-z\"\n]*$", "minLength": 2})"},
          {Kind::kJsonSchema,
           R"({"type": "string", "pattern": "^(ab)*a$", "minLength": 1, "maxLength": 2})"},
          {Kind::kJsonSchema,
           R"({"type": "object", "properties": {"a\"é": {"type": "integer", "minimum": 3},
               "b": {"type": "array", "items": {"$ref": "#"}, "maxItems": 7},
               "c": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5}},
               "required": ["b"], "additionalProperties": {"enum": ["x\"y", null]}})"}};
}

std::string PackOf(const GrammarSource& source, GrammarUse use) {
  const auto machine = CompileGrammar(source, use);
  EXPECT_TRUE(machine.ok()) << source.text << ": " << machine.status();
  const auto pack = MakeGrammarPack(source, use, **machine);
  EXPECT_TRUE(pack.ok()) << pack.status();
  return *pack;
}

void Seal(std::string* file) {
  const uint64_t checksum = Xxh3(std::string_view(*file).substr(kChecksumEnd));
  std::memcpy(file->data() + kChecksumAt, &checksum, 8);
}

std::string ErrorOf(std::string_view file) {
  const auto pack = ParseGrammarPack(file);
  return pack.ok() ? "OK" : pack.status().ToString();
}

TEST(Fstpack, RoundTrip) {
  for (const GrammarSource& source : Sources()) {
    for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
      const std::string file = PackOf(source, use);
      const auto pack = ParseGrammarPack(file);
      ASSERT_TRUE(pack.ok()) << source.text << ": " << pack.status();
      EXPECT_EQ(pack->source, source);
      EXPECT_EQ(pack->use, use);
      EXPECT_EQ(*MakeGrammarPack(pack->source, use, *pack->machine), file);
      StateTable before(*CompileGrammar(source, use)), after(pack->machine);
      EXPECT_EQ(before.n_classes(), after.n_classes());
      for (uint64_t seed = 0; use == GrammarUse::kGenerate && seed < 30; ++seed) {
        const std::string text = RandomText(&before, seed, 40);
        EXPECT_EQ(FirstFault(&after, text), -1) << text;
        EXPECT_EQ(RandomText(&after, seed, 40), text);
      }
    }
  }
}

// Whatever the compiler makes of schemas as people write them passes the reader's checks:
// one in four of them here.
TEST(Fstpack, SchemasOfTheCorpus) {
  const std::vector<CorpusSchema> corpus = SchemaCorpus();
  if (corpus.empty()) GTEST_SKIP() << "needs json_schemas.jsonl in CHIMERA_DATA_DIR";
  int packs = 0;
  for (size_t i = 3; i < corpus.size(); i += 4) {
    const GrammarSource source = {Kind::kJsonSchema, corpus[i].schema};
    for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
      const auto machine = CompileGrammar(source, use);
      if (!machine.ok()) continue;
      const std::string file = *MakeGrammarPack(source, use, **machine);
      const auto pack = ParseGrammarPack(file);
      ASSERT_TRUE(pack.ok()) << source.text.substr(0, 2000) << ": " << pack.status();
      ++packs;
      StateTable before(*machine), after(pack->machine);
      for (const auto& test : corpus[i].tests) {
        const std::string text = test["data"].dump();
        ASSERT_EQ(FirstFault(&before, text), FirstFault(&after, text)) << text.substr(0, 2000);
      }
    }
  }
  EXPECT_GT(packs, 300);
}

TEST(Fstpack, ReadsFiles) {
  const std::string path = testing::TempDir() + "fstpack_" + std::to_string(getpid());
  EXPECT_EQ(ReadGrammarPack(path).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(path, PackOf(Sources()[4], GrammarUse::kCheck)).ok());
  const auto pack = ReadGrammarPack(path);
  ASSERT_TRUE(pack.ok()) << pack.status();
  EXPECT_EQ(pack->source, Sources()[4]);
  unlink(path.c_str());
}

TEST(Fstpack, EveryTruncationAndFlippedBitIsAnError) {
  std::string file = PackOf({Kind::kRegex, "[a-z]{1,3}x?"}, GrammarUse::kGenerate);
  ASSERT_EQ(ErrorOf(file), "OK");
  for (size_t size = 0; size < file.size(); ++size) ASSERT_NE(ErrorOf(file.substr(0, size)), "OK");
  EXPECT_THAT(ErrorOf(file + "x"), HasSubstr("its header needs"));
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
    ASSERT_NE(ErrorOf(file), "OK") << "bit " << bit;
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
}

// A text of the pack's language that is closed at its end, whatever the pack holds.
void Walk(const GrammarPack& pack, uint32_t seed) {
  StateTable table(pack.machine);
  GrammarState state = table.start();
  for (uint32_t i = 0; i < 40 && table.status().ok(); ++i) {
    const auto bytes = table.class_bytes();
    const PhiloxBlock draw = Philox4x32({i, 0, 0, 9}, seed, 0);
    const GrammarState next = table.Next(state, bytes[draw[0] % bytes.size()]);
    if (next != kDeadState) state = next;
  }
  for (const uint8_t byte : table.class_bytes()) table.Next(state, byte);
  if (!table.status().ok() || pack.use == GrammarUse::kCheck) return;
  const std::string closing = table.CloseBytes(state) < 10000 ? table.ClosingText(state) : "";
  EXPECT_LE(closing.size(), table.CloseBytes(state));
}

// With a correct checksum the content is still not trusted: it is refused, or it is another
// grammar that keeps every promise.
TEST(Fstpack, HostileRulesUnderAGoodChecksum) {
  uint32_t loaded = 0, refused = 0;
  for (const GrammarSource& source : Sources()) {
    for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
      const std::string good = PackOf(source, use);
      for (uint32_t round = 0; round < 5000; ++round) {
        std::string file = good;
        const PhiloxBlock draw = Philox4x32({round, 0, 0, 8}, uint32_t(good.size()), 0);
        for (uint32_t flip = 0; flip <= draw[3] % 3; ++flip) {
          const size_t at = kChecksumEnd + draw[flip] % (file.size() - kChecksumEnd);
          const auto was = static_cast<uint8_t>(file[at]);
          file[at] = static_cast<char>(draw[3] >> 8 & 1 ? was ^ (1 << draw[3] % 8)
                                                        : was + (draw[3] >> 9 & 1 ? 1 : -1));
        }
        Seal(&file);
        const auto pack = ParseGrammarPack(file);
        ++(pack.ok() ? loaded : refused);
        if (pack.ok()) Walk(*pack, round);
      }
    }
  }
  EXPECT_GT(loaded, 1000u);
  EXPECT_GT(refused, 5000u);
}

// What fuzzing found, one file a fault.
TEST(Fstpack, FaultsThatWereFound) {
  const auto begins_nowhere =
      ReadGrammarPack(CHIMERA_SOURCE_DIR "/libs/grammar/fuzz_found/begins_nowhere.fstpack");
  EXPECT_THAT(std::string(begins_nowhere.status().message()), HasSubstr("begin nowhere"));
}

TEST(Fstpack, NamesTheFault) {
  const std::string good = PackOf({Kind::kRegex, "[a-z]x?"}, GrammarUse::kGenerate);
  const auto with = [&](size_t at, uint32_t value) {
    std::string file = good;
    std::memcpy(file.data() + at, &value, 4);
    Seal(&file);
    return ErrorOf(file);
  };
  EXPECT_THAT(with(0, 0), HasSubstr("magic"));
  EXPECT_THAT(with(8, 2), HasSubstr("version 2, this program reads 1"));
  EXPECT_THAT(with(12, 3), HasSubstr("kind 3"));
  EXPECT_THAT(with(24, 2), HasSubstr("use 2"));
  EXPECT_THAT(with(28, 5), HasSubstr("source 5"));
  EXPECT_THAT(with(36, 0xFFFFFFFF), HasSubstr("its header needs"));
  EXPECT_THAT(with(40, 0xFFFFFFFF), HasSubstr("its header needs"));
  EXPECT_THAT(with(56, 77), HasSubstr("root 77 is no rule"));
  EXPECT_THAT(with(60, 1), HasSubstr("revision 1 of tables"));
  EXPECT_THAT(with(kHeaderBytes + 16, 1), HasSubstr("place 0 leads on"));
  EXPECT_THAT(with(kHeaderBytes + 28, 9), HasSubstr("place 1 is of no rule"));
  EXPECT_THAT(with(kHeaderBytes + 36, 2), HasSubstr("place 1 has other flags"));
  EXPECT_THAT(with(kHeaderBytes + 20, 0xFFFFFFFF), HasSubstr("other numbers of edges"));
}

TEST(Fstpack, NamedMachinesHaveARevision) {
  std::string file = PackOf({Kind::kMode, "python"}, GrammarUse::kGenerate);
  EXPECT_EQ(file.size(), kHeaderBytes + 6);
  const auto pack = ParseGrammarPack(file);
  ASSERT_TRUE(pack.ok()) << pack.status();
  EXPECT_EQ(pack->machine, ModeMachine(GrammarMode::kPython, GrammarUse::kGenerate));
  ++file[60];
  Seal(&file);
  EXPECT_THAT(ErrorOf(file), HasSubstr("mode python in revision 2, this program has 1"));
}

}  // namespace
}  // namespace chimera
