#include "grammar/fstpack.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/ebnf.h"
#include "grammar/modes.h"
#include "grammar/rule_builder.h"
#include "text/utf8.h"

namespace chimera {
namespace {

constexpr char kMagic[8] = {'C', 'H', 'I', 'M', 'F', 'S', 'T', 'P'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kTables = 1, kNamed = 2;
constexpr size_t kAlignment = 64;
constexpr uint32_t kSourceBytesMax = kEbnfBytesMax;

struct Header {
  char magic[8];
  uint32_t version, kind;
  uint64_t checksum;
  uint32_t use, source, source_bytes;
  uint32_t n_places, n_edges, n_jumps, n_rules, n_required;
  uint32_t root, revision;
};
static_assert(sizeof(Header) == kAlignment);
constexpr size_t kChecksumEnd = offsetof(Header, use);

struct PackedPlace {
  uint32_t edges, jumps, rule, close_to, flags;
};
struct PackedEdge {
  uint8_t low, high;
  uint16_t zero;
  uint32_t to;
};
struct PackedJump {
  uint32_t kind, to, arg;
};
struct PackedRule {
  uint32_t start, end, count_min, count_max;
};
static_assert(sizeof(PackedPlace) == 20 && sizeof(PackedEdge) == 8 && sizeof(PackedJump) == 12 &&
              sizeof(PackedRule) == 16);

absl::Status Fault(std::string_view fault) {
  return absl::DataLossError(absl::StrCat("grammar pack: ", ToAbsl(fault)));
}

template <typename Row>
void AppendSection(const std::vector<Row>& rows, std::string* file) {
  file->resize((file->size() + kAlignment - 1) / kAlignment * kAlignment, '\0');
  file->append(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(Row));
}

// Takes the sections of a file one after the other; sizes were checked before.
class Sections {
 public:
  explicit Sections(std::string_view file) : file_(file) {}

  template <typename Row>
  std::vector<Row> Take(size_t n) {
    const size_t begin = (at_ + kAlignment - 1) / kAlignment * kAlignment;
    for (; at_ < begin && at_ < file_.size(); ++at_) padded_ = padded_ && file_[at_] == 0;
    std::vector<Row> rows(n);
    if (n > 0) std::memcpy(rows.data(), file_.data() + at_, n * sizeof(Row));
    at_ += n * sizeof(Row);
    return rows;
  }
  bool padded() const { return padded_; }

 private:
  const std::string_view file_;
  size_t at_ = sizeof(Header);
  bool padded_ = true;  // with zero bytes
};

uint64_t FileBytes(const Header& header) {
  const std::pair<uint64_t, uint64_t> sections[] = {
      {header.n_places, sizeof(PackedPlace)}, {header.n_edges, sizeof(PackedEdge)},
      {header.n_jumps, sizeof(PackedJump)},   {header.n_rules, sizeof(PackedRule)},
      {header.n_required, sizeof(uint64_t)},  {header.source_bytes, 1}};
  uint64_t bytes = sizeof(Header);
  for (const auto& [n, size] : sections) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment + n * size;
  }
  return bytes;
}

absl::Status CheckHeader(const Header& h, std::string_view file) {
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) return Fault("is not one (magic)");
  if (h.version != kVersion) {
    return Fault(absl::StrCat("version ", h.version, ", this program reads ", kVersion));
  }
  if (file.size() != FileBytes(h)) {
    return Fault(absl::StrCat(file.size(), " bytes, its header needs ", FileBytes(h)));
  }
  if (Xxh3(file.substr(kChecksumEnd)) != h.checksum) {
    return Fault("checksum does not match its content");
  }
  if (h.use > 1) return Fault(absl::StrCat("use ", h.use));
  if (h.source < 1 || h.source > 4) return Fault(absl::StrCat("source ", h.source));
  if (h.source_bytes > kSourceBytesMax) return Fault(absl::StrCat("source_bytes ", h.source_bytes));
  if (h.kind == kNamed) {
    if (h.source != 1) return Fault("names a machine, but its source is no mode");
    const uint32_t counts[] = {h.n_places, h.n_edges, h.n_jumps, h.n_rules, h.n_required, h.root};
    for (const uint32_t count : counts) {
      if (count != 0) return Fault("names a machine and has rules");
    }
    return absl::OkStatus();
  }
  if (h.kind != kTables) return Fault(absl::StrCat("kind ", h.kind));
  if (h.revision != 0) return Fault(absl::StrCat("revision ", h.revision, " of tables"));
  if (h.n_places < 2 || h.n_places > kRulePlacesMax) {
    return Fault(absl::StrCat("n_places ", h.n_places, " is not in [2, ", kRulePlacesMax, "]"));
  }
  if (h.n_rules < 1 || h.n_rules > h.n_places) return Fault(absl::StrCat("n_rules ", h.n_rules));
  if (h.root >= h.n_rules) return Fault(absl::StrCat("root ", h.root, " is no rule"));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Machine>> NamedMachine(const Header& header,
                                                            const GrammarSource& source) {
  const auto mode = GrammarModeOf(source.text);
  if (!mode) return Fault("names a mode that does not exist");
  const auto use = static_cast<GrammarUse>(header.use);
  std::shared_ptr<const Machine> machine = ModeMachine(*mode, use);
  if (machine == nullptr || header.revision != GrammarModeRevision(*mode)) {
    return absl::UnimplementedError(absl::StrCat(
        "grammar pack: mode ", source.text, " in revision ", header.revision, ", this program has ",
        machine == nullptr ? "none" : absl::StrCat(GrammarModeRevision(*mode))));
  }
  return machine;
}

absl::StatusOr<RuleTables> TakeRules(const Header& header, Sections* sections,
                                     std::vector<uint32_t>* ends) {
  RuleTables tables;
  tables.root = header.root;
  uint64_t edges = 0, jumps = 0;
  for (const PackedPlace& place : sections->Take<PackedPlace>(header.n_places)) {
    if (place.flags > 0xFF) return Fault(absl::StrCat("flags ", place.flags));
    tables.places.push_back({.first_edge = static_cast<uint32_t>(edges),
                             .first_jump = static_cast<uint32_t>(jumps),
                             .edges = place.edges,
                             .jumps = place.jumps,
                             .flags = static_cast<uint8_t>(place.flags),
                             .rule = place.rule,
                             .close_to = place.close_to});
    edges += place.edges;
    jumps += place.jumps;
    if (edges > header.n_edges || jumps > header.n_jumps) break;
  }
  if (edges != header.n_edges || jumps != header.n_jumps) {
    return Fault("its places have other numbers of edges or jumps");
  }
  for (const PackedEdge& edge : sections->Take<PackedEdge>(header.n_edges)) {
    if (edge.zero != 0) return Fault("an edge's reserved field is not 0");
    tables.edges.push_back({edge.low, edge.high, edge.to});
  }
  for (const PackedJump& jump : sections->Take<PackedJump>(header.n_jumps)) {
    if (jump.kind > static_cast<uint32_t>(RuleJump::Kind::kSeeBelow)) {
      return Fault(absl::StrCat("jump of kind ", jump.kind));
    }
    tables.jumps.push_back({static_cast<RuleJump::Kind>(jump.kind), jump.to, jump.arg});
  }
  for (const PackedRule& rule : sections->Take<PackedRule>(header.n_rules)) {
    tables.rules.push_back({rule.start, rule.count_min, rule.count_max});
    ends->push_back(rule.end);
  }
  tables.required = sections->Take<uint64_t>(header.n_required);
  return tables;
}

std::string PackOf(Header header, const RuleTables* tables, const std::string& text) {
  std::vector<PackedPlace> places;
  std::vector<PackedEdge> edges;
  std::vector<PackedJump> jumps;
  std::vector<PackedRule> rules;
  if (tables != nullptr) {
    for (const RuleInfo& r : tables->rules) rules.push_back({r.start, 0, r.count_min, r.count_max});
    for (uint32_t p = 0; p < tables->places.size(); ++p) {
      const RulePlace& place = tables->places[p];
      if (place.flags & kPlaceFinal) rules[place.rule].end = p;
      const auto flags = static_cast<uint8_t>(place.flags & ~(kPlaceTail | kPlaceFree));
      places.push_back({place.edges, place.jumps, place.rule, place.close_to, flags});
      for (uint32_t e = place.first_edge; e < place.first_edge + place.edges; ++e) {
        edges.push_back({tables->edges[e].low, tables->edges[e].high, 0, tables->edges[e].to});
      }
      for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
        const RuleJump& jump = tables->jumps[j];
        jumps.push_back({static_cast<uint32_t>(jump.kind), jump.to, jump.arg});
      }
    }
    header.root = tables->root;
    header.n_required = static_cast<uint32_t>(tables->required.size());
  }
  header.n_places = static_cast<uint32_t>(places.size());
  header.n_edges = static_cast<uint32_t>(edges.size());
  header.n_jumps = static_cast<uint32_t>(jumps.size());
  header.n_rules = static_cast<uint32_t>(rules.size());
  std::string file(reinterpret_cast<const char*>(&header), sizeof header);
  AppendSection(places, &file);
  AppendSection(edges, &file);
  AppendSection(jumps, &file);
  AppendSection(rules, &file);
  AppendSection(tables != nullptr ? tables->required : std::vector<uint64_t>{}, &file);
  AppendSection(std::vector<char>(text.begin(), text.end()), &file);
  const uint64_t checksum = Xxh3(std::string_view(file).substr(kChecksumEnd));
  std::memcpy(file.data() + offsetof(Header, checksum), &checksum, sizeof checksum);
  return file;
}

}  // namespace

absl::StatusOr<std::string> MakeGrammarPack(const GrammarSource& source, GrammarUse use,
                                            const Machine& machine) {
  if (source.text.size() > kSourceBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a grammar of ", source.text.size(),
                                                   " bytes, a pack holds ", kSourceBytesMax));
  }
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.kind = machine.rule_tables() != nullptr ? kTables : kNamed;
  header.use = static_cast<uint32_t>(use);
  header.source = static_cast<uint32_t>(source.kind);
  header.source_bytes = static_cast<uint32_t>(source.text.size());
  if (header.kind == kNamed) {
    const auto mode = GrammarModeOf(source.text);
    if (source.kind != GrammarSource::Kind::kMode || !mode) {
      return absl::InvalidArgumentError("a machine without tables that is of no mode");
    }
    header.revision = GrammarModeRevision(*mode);
  }
  return PackOf(header, machine.rule_tables(), source.text);
}

absl::StatusOr<GrammarPack> ParseGrammarPack(std::string_view bytes) {
  Header header;
  if (bytes.size() < sizeof header) {
    return Fault(absl::StrCat(bytes.size(), " bytes, shorter than its header"));
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  CHIMERA_RETURN_IF_ERROR(CheckHeader(header, bytes));
  GrammarPack pack;
  pack.use = static_cast<GrammarUse>(header.use);
  pack.source.kind = static_cast<GrammarSource::Kind>(header.source);
  Sections sections(bytes);
  std::vector<uint32_t> ends;
  CHIMERA_ASSIGN_OR_RETURN(const RuleTables rules, TakeRules(header, &sections, &ends));
  const std::vector<char> text = sections.Take<char>(header.source_bytes);
  pack.source.text.assign(text.begin(), text.end());
  if (!sections.padded()) return Fault("bytes between its sections are not 0");
  if (ValidUtf8Prefix(pack.source.text) != pack.source.text.size()) {
    return Fault("its source is no UTF-8");
  }
  if (header.kind == kNamed) {
    CHIMERA_ASSIGN_OR_RETURN(pack.machine, NamedMachine(header, pack.source));
    return pack;
  }
  CHIMERA_RETURN_IF_ERROR(CheckPackedRules(rules, ends, pack.use));
  CHIMERA_ASSIGN_OR_RETURN(RuleTables tables, RuleBuilder(rules, ends).Build(header.root));
  pack.machine = std::make_shared<const RuleMachine>(std::move(tables));
  StackPool stacks;
  std::vector<GrammarItem> items;
  pack.machine->Start(&stacks, &items);
  if (items.empty()) return Fault("its rules begin nowhere");
  return pack;
}

absl::StatusOr<GrammarPack> ReadGrammarPack(const std::string& path) {
  CHIMERA_ASSIGN_OR_RETURN(const MmapFile file, MmapFile::Open(path));
  return ParseGrammarPack(
      {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

}  // namespace chimera
