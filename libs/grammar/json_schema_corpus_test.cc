// 700 schemas as people write them, with instances that fit and do not. Compiles each and runs
// every instance; what is generated has to fit.
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "grammar/corpora_testing.h"
#include "grammar/grammar_testing.h"
#include "grammar/json_schema.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

using Json = nlohmann::ordered_json;

// Spells a value at random: the order of properties, white space, escapes.
class Speller {
 public:
  explicit Speller(uint64_t seed) : seed_(static_cast<uint32_t>(seed)) {}

  std::string Spell(const Json& value) {
    std::string text;
    Value(value, &text);
    return text;
  }

 private:
  uint32_t Draw(uint32_t below) { return Philox4x32({++draws_, 0, 0, 5}, seed_, 3)[0] % below; }
  void Space(std::string* out) {
    while (Draw(3) == 0) *out += " \t\n\r"[Draw(4)];
  }
  void String(const std::string& text, std::string* out) {
    *out += '"';
    const std::string plain = Json(text).dump();
    for (size_t i = 1; i + 1 < plain.size(); ++i) {
      const char c = plain[i];
      if (c == '\\') {
        *out += c;
        *out += plain[++i];
      } else if (c > 0x20 && Draw(10) == 0) {
        constexpr char kHex[] = "0123456789aBcDeF";
        *out += "\\u00";
        *out += kHex[c >> 4];
        *out += kHex[c & 15];
      } else {
        *out += c;
      }
    }
    *out += '"';
  }
  void Value(const Json& value, std::string* out) {
    Space(out);
    if (value.is_string()) {
      String(value.get<std::string>(), out);
    } else if (value.is_array() || value.is_object()) {
      std::vector<size_t> order(value.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      for (size_t i = order.size(); value.is_object() && i > 1; --i) {
        std::swap(order[i - 1], order[Draw(static_cast<uint32_t>(i))]);
      }
      *out += value.is_array() ? '[' : '{';
      for (size_t i = 0; i < order.size(); ++i) {
        if (i > 0) *out += ',';
        const auto at = std::next(value.begin(), static_cast<ptrdiff_t>(order[i]));
        Space(out);
        if (value.is_object()) {
          String(at.key(), out);
          Space(out);
          *out += ':';
        }
        Value(*at, out);
      }
      Space(out);
      *out += value.is_array() ? ']' : '}';
    } else {
      *out += value.dump();
    }
    Space(out);
  }

  const uint32_t seed_;
  uint32_t draws_ = 0;
};

struct Score {
  int right = 0, refused = 0, wrong_rejects = 0, wrong_accepts = 0;
  std::vector<double> ms;
};

double CpuMs() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) * 1e3 + double(time.tv_nsec) / 1e6;
}

void RunEntry(const CorpusSchema& entry, uint64_t seed, Score* score) {
  const double begin = CpuMs();
  auto tables = CompileJsonSchema(entry.schema, {.use = GrammarUse::kCheck});
  score->ms.push_back(CpuMs() - begin);
  if (!tables.ok()) {
    ++score->refused;
    std::cout << "refused: " << entry.name << ": " << tables.status().message() << "\n";
    return;
  }
  StateTable table(std::make_shared<RuleMachine>(*std::move(tables)));
  bool right = true;
  for (const Json& test : entry.tests) {
    const Json& data = test["data"];
    for (const std::string& text : {data.dump(), Speller(seed).Spell(data)}) {
      const int64_t fault = FirstFault(&table, text);
      EXPECT_TRUE(table.status().ok()) << entry.name << ": " << table.status();
      if ((fault == -1) == test["valid"].get<bool>()) continue;
      right = false;
      ++(fault == -1 ? score->wrong_accepts : score->wrong_rejects);
      std::cout << (fault == -1 ? "wrong accept: " : "wrong reject: ") << entry.name << ": "
                << text.substr(0, 1000) << std::endl;
    }
  }
  score->right += right;
}

TEST(JsonSchemaCorpus, JudgesInstances) {
  const std::vector<CorpusSchema> corpus = SchemaCorpus();
  if (corpus.empty()) GTEST_SKIP() << "needs json_schemas.jsonl in CHIMERA_DATA_DIR";
  Score score;
  for (size_t i = 0; i < corpus.size(); ++i) RunEntry(corpus[i], i, &score);
  std::sort(score.ms.begin(), score.ms.end());
  const size_t n = corpus.size();
  std::cout << score.right << " of " << n << " schemas right, " << score.refused << " refused, "
            << score.wrong_rejects << " wrong rejects, " << score.wrong_accepts
            << " wrong accepts; compile p50 " << score.ms[n / 2] << " ms, p99 "
            << score.ms[n * 99 / 100] << " ms, most " << score.ms.back() << " ms\n";
  EXPECT_EQ(score.wrong_accepts, 0);
  EXPECT_GE(score.right * 100, 90 * static_cast<int>(n));
}

// Random values of each schema's rules, as cases for the judge.
std::vector<nlohmann::json> Generated(const std::vector<CorpusSchema>& corpus) {
  std::vector<nlohmann::json> cases;
  for (size_t i = 0; i < corpus.size(); ++i) {
    auto generate = CompileJsonSchema(corpus[i].schema, {.use = GrammarUse::kGenerate});
    auto check = CompileJsonSchema(corpus[i].schema, {.use = GrammarUse::kCheck});
    if (!check.ok()) continue;
    if (!generate.ok()) {
      EXPECT_NE(generate.status().message().find("cannot be generated"), std::string::npos)
          << corpus[i].name << ": " << generate.status();
      continue;
    }
    StateTable generating(std::make_shared<RuleMachine>(*std::move(generate)));
    StateTable checking(std::make_shared<RuleMachine>(*std::move(check)));
    nlohmann::json texts = nlohmann::json::array();
    for (uint64_t seed = 0; seed < 6; ++seed) {
      const std::string text = RandomText(&generating, seed * 1000 + i, int(seed * seed * 20));
      EXPECT_TRUE(generating.status().ok()) << corpus[i].name << ": " << generating.status();
      EXPECT_TRUE(Json::accept(text)) << corpus[i].name << ": " << text;
      EXPECT_EQ(FirstFault(&checking, text), -1) << corpus[i].name << ": " << text;
      texts.push_back(text);
    }
    cases.push_back({{"name", corpus[i].name}, {"schema", corpus[i].schema}, {"values", texts}});
  }
  return cases;
}

TEST(JsonSchemaCorpus, GeneratesWhatFits) {
  const std::vector<CorpusSchema> corpus = SchemaCorpus();
  if (corpus.empty()) GTEST_SKIP() << "needs json_schemas.jsonl in CHIMERA_DATA_DIR";
  if (std::system("python3 -c 'import jsonschema' 2> /dev/null") != 0) {
    GTEST_SKIP() << "needs Python's jsonschema";
  }
  const std::vector<std::string> report = OutsideCheck(
      "python3 " CHIMERA_SOURCE_DIR "/libs/grammar/json_schema_judge.py", Generated(corpus));
  ASSERT_FALSE(report.empty());
  for (const std::string& line : report) EXPECT_FALSE(line.starts_with("bad:")) << line;
  std::cout << report.back() << "\n";
}

}  // namespace
}  // namespace chimera
