#include "tidy/doc_checks.h"

#include <algorithm>
#include <filesystem>

namespace chimera::tidy {
namespace {

constexpr size_t kSpineRowsMin = 5;

std::string Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == text.npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(' ') - begin + 1));
}

std::vector<std::string> Cells(std::string_view row) {
  std::vector<std::string> cells;
  row.remove_prefix(1);
  while (!row.empty()) {
    const size_t bar = row.find('|');
    if (bar == row.npos) break;
    cells.push_back(Trim(row.substr(0, bar)));
    row.remove_prefix(bar + 1);
  }
  return cells;
}

// "Step" for Session::Step.
std::string LastName(const std::string& symbol) {
  const size_t colon = symbol.rfind(':');
  return colon == symbol.npos ? symbol : symbol.substr(colon + 1);
}

bool IsOutside(std::string_view target) {
  return target.empty() || target.front() == '#' || target.find("://") != target.npos ||
         target.starts_with("mailto:");
}

}  // namespace

std::string_view MarkedPart(std::string_view page, std::string_view name) {
  const std::string open = "<!-- " + std::string(name) + " -->";
  const std::string close = "<!-- /" + std::string(name) + " -->";
  const size_t begin = page.find(open);
  const size_t end = page.find(close);
  if (begin == page.npos || end == page.npos || end < begin) return {};
  return page.substr(begin + open.size(), end - begin - open.size());
}

std::vector<std::vector<std::string>> TableRows(std::string_view part) {
  std::vector<std::vector<std::string>> rows;
  int bars = 0;
  for (const std::string_view line : Lines(part)) {
    if (!line.starts_with("|")) continue;
    if (++bars > 2) rows.push_back(Cells(line));  // head and rule come first
  }
  return rows;
}

std::vector<std::string> CodeWords(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = text.find('`'); at != text.npos;) {
    const size_t end = text.find('`', at + 1);
    if (end == text.npos) break;
    words.emplace_back(text.substr(at + 1, end - at - 1));
    at = text.find('`', end + 1);
  }
  return words;
}

std::vector<Finding> CheckSpine(const SourceFile& page, const std::vector<SourceFile>& files) {
  std::vector<Finding> findings;
  const auto rows = TableRows(MarkedPart(page.text, "spine"));
  if (rows.size() < kSpineRowsMin) {
    return {{page.path, 0, "the spine has " + std::to_string(rows.size()) + " rows, wants 5"}};
  }
  for (const auto& row : rows) {
    if (row.size() < 3 || CodeWords(row[1]).size() != 1 || CodeWords(row[2]).empty()) {
      findings.push_back({page.path, 0, "a spine row wants one file and its symbols"});
      continue;
    }
    const std::string path = CodeWords(row[1])[0];
    const auto file = std::find_if(files.begin(), files.end(),
                                   [&](const SourceFile& f) { return f.path == path; });
    if (file == files.end()) {
      findings.push_back({page.path, 0, "the spine names " + path + ", which does not exist"});
      continue;
    }
    for (const std::string& symbol : CodeWords(row[2])) {
      if (HasWord(file->text, LastName(symbol))) continue;
      findings.push_back({page.path, 0, path + " holds no " + symbol});
    }
  }
  return findings;
}

std::vector<Finding> CheckFloorTable(const SourceFile& page, const std::vector<Floor>& floors) {
  const auto rows = TableRows(MarkedPart(page.text, "floors"));
  if (rows.size() != floors.size()) {
    return {{page.path, 0,
             "the floor table has " + std::to_string(rows.size()) + " rows, the test has " +
                 std::to_string(floors.size())}};
  }
  std::vector<Finding> findings;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool same = rows[i].size() == 3 &&
                      CodeWords(rows[i][0]) == std::vector<std::string>{floors[i].library} &&
                      CodeWords(rows[i][2]) == floors[i].may_include;
    if (!same) {
      findings.push_back(
          {page.path, 0, "the row of " + floors[i].library + " differs from the test"});
    }
  }
  return findings;
}

std::vector<Finding> CheckLinks(const SourceFile& page, const std::string& root) {
  namespace fs = std::filesystem;
  std::vector<Finding> findings;
  int number = 0;
  for (const std::string_view line : Lines(page.text)) {
    ++number;
    for (size_t at = line.find("]("); at != line.npos; at = line.find("](", at + 2)) {
      const size_t end = line.find(')', at);
      if (end == line.npos) break;
      const std::string_view target = line.substr(at + 2, end - at - 2);
      if (IsOutside(target)) continue;
      const std::string plain(target.substr(0, target.find('#')));
      if (fs::exists(fs::path(root) / fs::path(page.path).parent_path() / plain)) continue;
      findings.push_back({page.path, number, "link to " + plain + " leads nowhere"});
    }
  }
  return findings;
}

}  // namespace chimera::tidy
