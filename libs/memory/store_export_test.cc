// Export, import, backup, restore and Reset.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "memory/export_line.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

class StoreExport : public StoreTest {
 protected:
  ~StoreExport() override {
    for (const char* end : {".backup", ".other", ".other.restoring"}) {
      std::filesystem::remove_all(path_ + end);
    }
  }
};

std::string ExportAll(Memory* memory, const std::string& user) {
  std::string lines;
  const absl::Status status = memory->Export(user, [&](std::string_view line) {
    EXPECT_EQ(line.find('\n'), line.npos);
    lines += line;
    lines += '\n';
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return lines;
}

// Something of every class.
void Fill(Memory* memory, const std::string& user) {
  const std::vector<NewFact> facts = {
      {.text = "caf\xc3\xa9 \"quoted\"\n", .about = "drink", .weight = 0.75f, .tags = 9},
      Fact("a guess", Source::kInferred, "guess", 0.25f),
      Fact("plain")};
  ASSERT_TRUE(memory->Remember(user, facts).ok());
  ASSERT_TRUE(
      memory->Reinforce(user, std::vector<FactUse>{{FactIdToHex(FactIdOf(user, "plain")), 0.5f}})
          .ok());
  ASSERT_TRUE(
      memory->Relate(user, std::vector<Relation>{{"Ada", "knows", "Bob", 0.5f}}, Source::kUser)
          .ok());
  ASSERT_TRUE(
      memory
          ->Relate(user, std::vector<Relation>{{"Bob", "knows", "Ada", -0.125f}}, Source::kInferred)
          .ok());
  const std::vector<MemoryRecord> records = {{0xfedcba9876543210u, std::string("\0\xff\n", 3)}};
  ASSERT_TRUE(memory->PutRecords(user, RecordClass::kCase, records, Source::kUser).ok());
  ASSERT_TRUE(memory->PutRecords(user, RecordClass::kGuideline, records, Source::kUser).ok());
  ASSERT_TRUE(
      memory->PutSection(user, "entities", {.epoch = 5, .bytes = std::string("\0e", 2)}).ok());
}

TEST_F(StoreExport, ImportOfAnExportIsTheSame) {
  const auto memory = MustOpen(Options());
  Fill(memory.get(), "ada");
  const std::string lines = ExportAll(memory.get(), "ada");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 8);
  const auto report = *memory->Import("bob", lines, 1);
  EXPECT_EQ(report.imported, 8);
  EXPECT_EQ(report.refused, 0);
  // Facts come in the order of their ids, which differ from user to user.
  const auto sorted = [](const std::string& text) {
    std::vector<std::string> all;
    for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
      all.push_back(text.substr(at, end - at));
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  EXPECT_EQ(sorted(ExportAll(memory.get(), "bob")), sorted(lines));
  EXPECT_EQ(memory->Stats("bob")->entries, memory->Stats("ada")->entries);
  EXPECT_EQ(memory->Stats("bob")->bytes, memory->Stats("ada")->bytes);
  // Again, it changes nothing.
  EXPECT_EQ(memory->Import("bob", lines, 1)->imported, 8);
  EXPECT_EQ(sorted(ExportAll(memory.get(), "bob")), sorted(lines));
  EXPECT_EQ(ExportAll(memory.get(), "eve"), "");
}

TEST_F(StoreExport, TheReceiversErrorEndsTheExport) {
  const auto memory = MustOpen(Options());
  Fill(memory.get(), "ada");
  int lines = 0;
  const absl::Status status = memory->Export("ada", [&](std::string_view) {
    return ++lines == 2 ? absl::CancelledError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(lines, 2);
}

TEST_F(StoreExport, BadLinesAreRefusedByNumber) {
  LocalMemoryOptions options = Options();
  options.facts_per_user_max = 2;
  const auto memory = MustOpen(options);
  const auto fact = [](const std::string& text) {
    return ExportLine(ExportedFact{.fact = Fact(text)});
  };
  std::string extra = fact("extra");
  extra.insert(1, "\"unknown\":1,");
  const std::vector<std::string> lines = {
      fact("first"),                                              // 10
      "secret words that are no JSON",                            // 11
      "[]",                                                       // 12
      extra,                                                      // 13
      "",                                                         // 14: skipped
      R"({"kind":"fact","text":"x"})",                            // 15
      R"({"kind":"case","id":"0000000000000001","bytes":"%%"})",  // 16
      R"({"kind":"section","name":"s","epoch":-1,"bytes":""})",   // 17
      R"({"kind":"relation","subject":"a","predicate":"b","object":"c",)"
      R"("weight":2,"source":"user"})",
      std::string(kImportLineBytesMax + 1, ' '),  // 19
      std::string(kImportLineBytesMax, '['),      // 20
      fact("second"),                             // 21
      fact("third"),                              // 22: no room
  };
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  const auto report = *memory->Import("ada", text, 10);
  EXPECT_EQ(report.imported, 2);
  EXPECT_EQ(report.refused, 10);
  std::vector<int64_t> numbers;
  for (const RefusedLine& refused : report.refused_lines) {
    numbers.push_back(refused.line);
    EXPECT_EQ(refused.reason.find("secret"), std::string::npos);
    EXPECT_FALSE(refused.reason.empty());
  }
  EXPECT_EQ(numbers, (std::vector<int64_t>{11, 12, 13, 15, 16, 17, 18, 19, 20, 22}));
  EXPECT_EQ(memory->Stats("ada")->facts, 2);
  EXPECT_EQ(memory->Import("ada", std::string(kImportCallBytesMax + 1, 'x'), 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  // Only so many are listed.
  std::string many;
  for (int i = 0; i < 100; ++i) many += "x\n";
  EXPECT_EQ(memory->Import("ada", many, 1)->refused, 100);
  EXPECT_EQ(memory->Import("ada", many, 1)->refused_lines.size(), 64u);
}

TEST(ExportLineTest, TheLargestItemsFit) {
  const ExportedItem items[] = {
      // One byte becomes six: \u0001.
      ExportedFact{.fact = Fact(std::string(kFactTextBytesMax, '\1'), Source::kInferred,
                                std::string(kFactAboutBytesMax, '\1'))},
      ExportedSection{.name = std::string(32, 's'),
                      .section = {.epoch = UINT64_MAX, .bytes = std::string(65536, '\xff')}}};
  for (const ExportedItem& item : items) {
    const std::string line = ExportLine(item);
    EXPECT_LE(line.size(), kImportLineBytesMax);
    const auto parsed = ParseExportLine(line);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(ExportLine(*parsed), line);
  }
}

TEST_F(StoreExport, BackupAndRestoreOnAnEmptyMachine) {
  const std::string folder = path_ + ".backup", other = path_ + ".other";
  std::vector<RecalledFact> before;
  std::string lines;
  {
    const auto memory = MustOpen(Options());
    EXPECT_EQ(RestoreMemory(folder, other).code(), absl::StatusCode::kNotFound);
    Fill(memory.get(), "ada");
    EXPECT_EQ(memory->Backup(folder, 2)->backup_id, 1u);
    Fill(memory.get(), "bob");
    EXPECT_EQ(memory->Backup(folder, 2)->backups_kept, 2);
    const auto report = *memory->Backup(folder, 2);
    EXPECT_EQ(report.backup_id, 3u);
    EXPECT_EQ(report.backups_kept, 2);
    EXPECT_GT(report.bytes, 1000);
    ASSERT_TRUE(memory->Remember("ada", "after the backup").ok());
    before = *memory->Recall("bob", "caf\xc3\xa9", 8);
    lines = ExportAll(memory.get(), "bob");
    EXPECT_EQ(RestoreMemory(folder, path_).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(memory->Backup("", 1).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(memory->Backup(folder, 0).status().code(), absl::StatusCode::kInvalidArgument);
  }
  std::filesystem::remove_all(path_);
  ASSERT_TRUE(RestoreMemory(folder, other).ok());
  const auto restored = MustOpen({.path = other});
  const auto after = *restored->Recall("bob", "caf\xc3\xa9", 8);
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].fact_id, before[i].fact_id);
    EXPECT_EQ(after[i].text, before[i].text);
    EXPECT_EQ(after[i].similarity, before[i].similarity);
    EXPECT_EQ(after[i].created_ms, before[i].created_ms);
  }
  EXPECT_EQ(ExportAll(restored.get(), "bob"), lines);
  EXPECT_EQ(restored->Stats("ada")->facts, 3);
  // It is the same store, so it goes on in the same folder; another store may not.
  EXPECT_EQ(restored->Backup(folder, 3)->backup_id, 4u);
  EXPECT_EQ(MustOpen(Options())->Backup(folder, 3).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(StoreExport, DamagedBackupIsRefusedAndLeavesNothing) {
  const std::string folder = path_ + ".backup", other = path_ + ".other";
  {
    const auto memory = MustOpen(Options());
    Fill(memory.get(), "ada");
    ASSERT_TRUE(memory->Backup(folder, 1).ok());
  }
  int damaged = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(40);
    file.put('\x55');
    ++damaged;
  }
  EXPECT_GT(damaged, 0);
  EXPECT_EQ(RestoreMemory(folder, other).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(std::filesystem::exists(other));
}

// Every file of the database: tables, log, manifest, options, RocksDB's own log.
TEST_F(StoreExport, ResetLeavesNothing) {
  const std::string secret = "the spare key lies under the third flower pot";
  const auto memory = MustOpen(Options());
  const std::vector<NewFact> facts = {Fact(secret, Source::kUser, "spare key place"),
                                      Fact("a secret guess", Source::kInferred)};
  std::vector<std::string> traces = {secret,           "a secret guess",   "Geheimnisvoll",
                                     "hidden in",      "secret case text", "secret guideline",
                                     "secret section", "spare key place"};
  const auto fill = [&](const std::string& user) {
    ASSERT_TRUE(memory->Remember(user, facts).ok());
    ASSERT_TRUE(memory
                    ->Relate(user, std::vector<Relation>{{"Geheimnisvoll", "hidden in", "pot"}},
                             Source::kUser)
                    .ok());
    ASSERT_TRUE(memory
                    ->PutRecords(user, RecordClass::kCase,
                                 std::vector<MemoryRecord>{{1, "secret case text"}}, Source::kUser)
                    .ok());
    ASSERT_TRUE(memory
                    ->PutRecords(user, RecordClass::kGuideline,
                                 std::vector<MemoryRecord>{{1, "secret guideline"}}, Source::kUser)
                    .ok());
    ASSERT_TRUE(memory->PutSection(user, "safety", {.epoch = 1, .bytes = "secret section"}).ok());
  };
  fill("traceless");
  ASSERT_TRUE(memory->Remember("bob", "bob's umbrella").ok());
  // Some of it has gone to table files, some is in the log, and one fact was superseded.
  ASSERT_TRUE(memory->Forget("bob", memory->Remember("bob", "x")->fact_id).ok());
  const auto newer = RememberFact(memory.get(), "traceless",
                                  Fact("a newer key place", Source::kUser, "spare key place"));
  ASSERT_NE(newer->superseded_id, "");
  traces.push_back("a newer key place");
  const auto recalled = *memory->Recall("traceless", std::vector<std::string>{"newer key place"},
                                        {.k = 1, .with_sketches = true});
  const auto sketch = ToBytes(*recalled[0].at(0).sketch);
  traces.emplace_back(sketch.begin(), sketch.begin() + 64);
  traces.push_back(IdKey("traceless", FactIdFromHex(newer->fact_id)).substr(10));
  traces.push_back(IdKey("traceless", FactIdOf("traceless", secret)).substr(10));
  traces.push_back("traceless");
  for (const std::string& trace : traces) {
    EXPECT_FALSE(FilesWith(path_, trace).empty()) << absl::CHexEscape(trace);
  }
  EXPECT_GT(*memory->Reset("traceless"), 8);
  for (const std::string& trace : traces) {
    const auto files = FilesWith(path_, trace);
    EXPECT_TRUE(files.empty()) << absl::CHexEscape(trace) << " in " << absl::StrJoin(files, " ");
  }
  EXPECT_EQ(memory->Stats("traceless")->bytes, 0);
  EXPECT_EQ(*memory->Reset("traceless"), 0);
  EXPECT_EQ(memory->Recall("bob", "umbrella", 1)->at(0).text, "bob's umbrella");
  fill("traceless");  // the user may begin anew
  EXPECT_EQ(memory->Stats("traceless")->facts, 2);
}

}  // namespace
}  // namespace chimera
