#include "config/registry.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "config/config_fields.h"

namespace chimera {
namespace {

bool TypeFits(char wanted, LeafType type) {
  switch (wanted) {
    case 'b':
      return type == LeafType::kBool;
    case 'i':
      return type == LeafType::kInt;
    case 'n':
      return type == LeafType::kInt || type == LeafType::kFloat;
    case 'a':
      return type == LeafType::kArray;
    case 'x':
      return type == LeafType::kString || type == LeafType::kArray;
    default:
      return type == LeafType::kString;
  }
}

const char* TypeName(char wanted) {
  switch (wanted) {
    case 'b':
      return "true or false";
    case 'i':
      return "an integer";
    case 'n':
      return "a number";
    case 'a':
      return "an array";
    case 'x':
      return "a string or an array";
    default:
      return "a string";
  }
}

const std::map<std::string, const ListedKey*>& ListedByPath() {
  static const auto* by_path = [] {
    auto* map = new std::map<std::string, const ListedKey*>;
    for (const ListedKey& key : ListedKeys()) map->emplace(key.path, &key);
    return map;
  }();
  return *by_path;
}

std::string Shorten(const std::string& text, size_t shown) {
  if (text.size() <= shown) return text;
  size_t end = shown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// Text inside a Markdown table cell.
std::string Cell(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string Row(const KeyEntry& entry) {
  std::string role = "note";
  if (entry.role == KeyRole::kClaimed) role = "acts";
  if (entry.role == KeyRole::kPending) role = absl::StrCat("pending ", entry.feature);
  return absl::StrCat("| `", Cell(entry.path), "` | `", Cell(Shorten(entry.value, 60)), "` | ",
                      role, " | ", Cell(entry.where), " |\n");
}

constexpr char kTableHead[] =
    "| key | value | state | where it acts, or why not |\n|---|---|---|---|\n";

}  // namespace

absl::StatusOr<std::vector<KeyEntry>> CoverLeaves(const std::vector<Leaf>& leaves,
                                                  const std::vector<Claim>& claims) {
  std::map<std::string, std::string> claimed;
  for (const Claim& claim : claims) {
    if (!claimed.emplace(claim.path, claim.where).second) {
      return absl::InternalError(absl::StrCat(claim.path, ": read in two places"));
    }
  }
  std::vector<KeyEntry> entries;
  std::set<std::string> seen;
  for (const Leaf& leaf : leaves) {
    if (!seen.insert(leaf.path).second) {
      return absl::InvalidArgumentError(absl::StrCat(leaf.path, " stands there twice"));
    }
    auto claim = claimed.find(leaf.path);
    auto listed = ListedByPath().find(leaf.path);
    if (claim == claimed.end() && listed == ListedByPath().end()) {
      return absl::InvalidArgumentError(absl::StrCat(leaf.path, " is an unknown key"));
    }
    if (claim != claimed.end() && listed != ListedByPath().end()) {
      return absl::InternalError(absl::StrCat(leaf.path, ": claimed by code and listed"));
    }
    if (claim != claimed.end()) {
      entries.push_back({leaf.path, KeyRole::kClaimed, leaf.value, "", claim->second});
      continue;
    }
    const ListedKey& key = *listed->second;
    if (!TypeFits(key.type, leaf.type)) {
      return absl::InvalidArgumentError(absl::StrCat(leaf.path, " = ", Shorten(leaf.value, 80),
                                                     " must be ", TypeName(key.type), ", is ",
                                                     LeafTypeName(leaf.type)));
    }
    entries.push_back({leaf.path, key.role, leaf.value, key.feature, key.why});
  }
  return entries;
}

absl::StatusOr<std::vector<KeyEntry>> Coverage(const Config& config) {
  CHIMERA_ASSIGN_OR_RETURN(JsonDocument document, JsonDocument::Parse(config.text, "config"));
  CHIMERA_ASSIGN_OR_RETURN(ConfigRead read, ReadConfigFields(document));
  return CoverLeaves(document.Leaves(), read.claims);
}

absl::StatusOr<std::string> CoverageMarkdown(const Config& config, const Config& other) {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<KeyEntry> entries, Coverage(config));
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<KeyEntry> others, Coverage(other));
  std::set<std::string> paths;
  std::map<KeyRole, int> counts;
  for (const KeyEntry& entry : entries) {
    paths.insert(entry.path);
    ++counts[entry.role];
  }
  std::string out = absl::StrCat(
      "# Configuration keys\n\n"
      "Generated from the coverage registry (`libs/config/registry_tables.cc`) and from what the\n"
      "loader reads; a test fails when this page is stale. Every key is in exactly one state:\n"
      "*acts* - code reads the value; *pending* - the named feature will, until then it has no\n"
      "effect; *note* - prose or a label that no code reads. Unknown keys are errors. Elements of\n"
      "arrays of objects are addressed by their name.\n\n",
      "`", config.model.name, "` has ", entries.size(), " keys: ", counts[KeyRole::kClaimed],
      " act, ", counts[KeyRole::kPending], " are pending, ", counts[KeyRole::kNote],
      " are notes.\n\n", kTableHead);
  for (const KeyEntry& entry : entries) out += Row(entry);
  absl::StrAppend(&out, "\n## Keys of `", other.model.name, "` only\n\n", kTableHead);
  for (const KeyEntry& entry : others) {
    if (paths.count(entry.path) == 0) out += Row(entry);
  }
  absl::StrAppend(
      &out, "\n## Keys an overlay may add\n\n",
      "The files above have none of them; the value shown is what their absence means.\n\n",
      kTableHead);
  for (const KeyEntry& entry : OptionalKeys()) out += Row(entry);
  return out;
}

const std::vector<KeyEntry>& OptionalKeys() {
  static const auto* keys = new std::vector<KeyEntry>{
      {"quantization.packing", KeyRole::kClaimed, "\"rows_in_lanes\"", "",
       "model: packing of trits in weights.b158; \"base3\" takes 1.6 bits a weight instead of 2"},
      {"quantization.head_bits", KeyRole::kClaimed, "8", "",
       "model: bits of a weight of the tied embedding and head; 6 and 4 have a scale every 64 "
       "columns"},
  };
  return *keys;
}

}  // namespace chimera
