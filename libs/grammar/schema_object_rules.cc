// Objects as rules.
//
// Generated objects have their properties in the order of the schema, so that no name comes twice
// by construction: a place is a property and how many were written before. Checked objects have
// theirs in any order: one rule reads any member, and the registers of the object's own rule
// remember which of the required ones were there.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/schema_rules.h"

namespace chimera {
namespace {

constexpr uint32_t kLevelsMax = 256;  // members that are counted
constexpr size_t kPlacesMax = 60000;  // properties times levels
constexpr size_t kRequiredMax = 64;   // bits of the registers
constexpr size_t kBlockMax = 64;      // optional properties that are readings of their own
constexpr size_t kBlockWithoutTree = 16;

// How many members have to be counted; 0: none.
struct Levels {
  uint32_t min = 0, max = kUnbounded, top = 0;

  explicit Levels(const ObjectForm& object) {
    const auto required = static_cast<uint32_t>(
        std::count_if(object.properties.begin(), object.properties.end(),
                      [](const auto& property) { return property.required; }));
    min = object.min > required ? object.min : 0;
    max = object.max;
    if (object.rests.empty() && max >= object.properties.size()) max = kUnbounded;
    top = max != kUnbounded ? max : min;
  }
  bool CanEnd(uint32_t level) const { return level >= min; }
  bool CanGoOn(uint32_t level) const { return max == kUnbounded || level < max; }
  uint32_t After(uint32_t level) const { return std::min(level + 1, top); }
};

// As generating writes it.
std::string Quoted(std::string_view name) {
  std::string text = "\"";
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    constexpr std::string_view kShort = "\b\t\n\f\r\"\\", kLetters = "btnfr\"\\";
    const size_t at = kShort.find(c);
    if (at != std::string_view::npos) {
      text += '\\';
      text += kLetters[at];
    } else if (byte < 0x20) {
      absl::StrAppend(&text, "\\u00", absl::Hex(byte, absl::kZeroPad2));
    } else {
      text += c;
    }
  }
  return text + '"';
}

}  // namespace

absl::Status SchemaRules::AddObject(const ObjectForm& object, uint32_t rule) {
  const Levels levels(object);
  if (levels.top > kLevelsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(b_->name(rule), ": counting more than ", kLevelsMax,
                     " properties (minProperties, maxProperties) is not supported"));
  }
  return json_->checking() ? AddAnyOrder(object, rule) : AddOrdered(object, rule);
}

void SchemaRules::ColonValue(uint32_t from, FormId value, uint32_t to) {
  const uint32_t colon = b_->AddPlace(b_->rule_of(from));
  b_->Text(json_->AfterSpace(from), ":", colon);
  b_->Call(json_->AfterSpace(colon), Value(value), to);
}

absl::Status SchemaRules::AddAnyOrder(const ObjectForm& object, uint32_t rule) {
  CHIMERA_ASSIGN_OR_RETURN(const uint32_t member, Member(object));
  const auto required = std::count_if(object.properties.begin(), object.properties.end(),
                                      [](const auto& property) { return property.required; });
  const uint32_t mask =
      required == 0 ? 0 : b_->AddRequired(~uint64_t{0} >> (kRequiredMax - size_t(required)));
  const Levels levels(object);
  const auto close = [&](uint32_t from) {
    if (required > 0) {
      const uint32_t complete = b_->AddPlace(rule);
      b_->Jump(from, RuleJump::Kind::kSeen, mask, complete);
      from = complete;
    }
    b_->Text(from, "}", b_->end(rule));
  };
  const uint32_t open = b_->AddPlace(rule);
  b_->Text(b_->start(rule), "{", open);
  uint32_t at = json_->AfterSpace(open);
  if (levels.CanEnd(0)) close(at);
  std::vector<uint32_t> behind(size_t{levels.top} + 1);
  for (uint32_t& place : behind) place = b_->AddPlace(rule);
  if (levels.CanGoOn(0)) b_->Call(at, member, behind[levels.After(0)]);
  for (uint32_t level = std::min(1u, levels.top); level <= levels.top; ++level) {
    at = json_->AfterSpace(behind[level]);
    if (levels.CanEnd(level)) close(at);
    if (!levels.CanGoOn(level)) continue;
    const uint32_t comma = b_->AddPlace(rule);
    b_->Text(at, ",", comma);
    b_->Call(json_->AfterSpace(comma), member, behind[levels.After(level)]);
  }
  return absl::OkStatus();
}

// Any one member; tells the object's rule about required ones.
absl::StatusOr<uint32_t> SchemaRules::Member(const ObjectForm& object) {
  const uint32_t rule = b_->AddRule("member"), end = b_->end(rule);
  Names names, no_names;
  uint32_t bit = 0;
  for (const auto& property : object.properties) {
    const uint32_t behind_key = b_->AddPlace(rule);
    names.push_back({property.name, behind_key});
    no_names.push_back({property.name, kNoPlace});
    if (!property.required) {
      ColonValue(behind_key, property.value, end);
      continue;
    }
    if (bit == kRequiredMax) {
      return absl::ResourceExhaustedError(absl::StrCat(forms_->Pointer(property.value),
                                                       ": of more than ", kRequiredMax,
                                                       " required properties"));
    }
    const uint32_t behind = b_->AddPlace(rule);
    ColonValue(behind_key, property.value, behind);
    b_->Jump(behind, RuleJump::Kind::kSeeBelow, bit++, end);
  }
  std::sort(names.begin(), names.end());
  std::sort(no_names.begin(), no_names.end());
  for (size_t i = 0; i < std::max<size_t>(object.rests.size(), 1); ++i) {
    const uint32_t content = b_->AddPlace(rule);
    b_->Text(b_->start(rule), "\"", content);
    const ByteDfa* dfa = nullptr;
    const uint32_t other = b_->AddPlace(rule);
    if (i < object.rests.size()) {
      dfa = object.rests[i].names ? object.rests[i].names : &ByteDfa::AnyText();
      ColonValue(other, object.rests[i].value, end);
    }
    TextsOrElse(content, i == 0 ? names : no_names, dfa, other);
  }
  return rule;
}

uint32_t SchemaRules::Named(const ObjectForm::Property& property) {
  const auto [it, fresh] = named_.insert({{property.name, property.value}, 0});
  if (fresh) {
    const uint32_t rule = it->second = b_->AddRule(property.name.substr(0, 80));
    const uint32_t behind = b_->AddPlace(rule);
    b_->Text(b_->start(rule), Quoted(property.name), behind);
    ColonValue(behind, property.value, b_->end(rule));
  }
  return it->second;
}

uint32_t SchemaRules::Others(const ObjectForm& object) {
  const uint32_t rule = b_->AddRule("other property");
  Names no_names;
  for (const auto& property : object.properties) no_names.push_back({property.name, kNoPlace});
  std::sort(no_names.begin(), no_names.end());
  for (const auto& rest : object.rests) {
    const uint32_t content = b_->AddPlace(rule), behind = b_->AddPlace(rule);
    b_->Text(b_->start(rule), "\"", content);
    TextsOrElse(content, no_names, rest.names ? rest.names : &ByteDfa::AnyText(), behind);
    ColonValue(behind, rest.value, b_->end(rule));
  }
  return rule;
}

namespace {

// The optional properties in a row, and the required one behind them if that ends the row.
struct Block {
  size_t first = 0, last = 0;  // [first, last)
  bool required = false;       // the last one is
};

std::vector<Block> BlocksOf(const std::vector<ObjectForm::Property>& properties) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < properties.size(); ++i) {
    if (blocks.empty() || blocks.back().required ||
        blocks.back().last - blocks.back().first == kBlockMax) {
      blocks.push_back({i, i, false});
    }
    blocks.back().last = i + 1;
    blocks.back().required = properties[i].required;
  }
  return blocks;
}

}  // namespace

// next[i][level]: before a member that is property i or later, or another one. A block of many is
// entered through the tree of its names, which is one reading.
absl::Status SchemaRules::AddOrdered(const ObjectForm& object, uint32_t rule) {
  const size_t n = object.properties.size();
  const Levels levels(object);
  const size_t width = size_t{levels.top} + 1;
  if ((n + 2) * width > kPlacesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(b_->name(rule), ": ", n, " properties times ", width,
                     " counts of them (minProperties, maxProperties) are too many"));
  }
  const auto fitting = static_cast<size_t>(
      std::count_if(object.properties.begin(), object.properties.end(),
                    [](const auto& property) { return property.value != kNothing; }));
  if (levels.min > fitting + !object.rests.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(b_->name(rule), "/minProperties: ", levels.min,
                     " properties cannot be generated, names that are free could be the same"));
  }
  // The last two rows are the other members: the first of them, and more.
  std::vector<uint32_t> next((n + 2) * width), behind((n + 2) * width);
  for (uint32_t& place : next) place = b_->AddPlace(rule);
  for (uint32_t& place : behind) place = b_->AddPlace(rule);
  size_t needed = n;
  while (needed > 0 && !object.properties[needed - 1].required) --needed;
  for (size_t i = 0; i < n + 2; ++i) {
    for (uint32_t level = 0; level <= levels.top; ++level) {
      const uint32_t at = json_->AfterSpace(behind[i * width + level]);
      if (i >= needed && levels.CanEnd(level)) b_->Text(at, "}", b_->end(rule));
      // Of several other members two may have one name, which counts once.
      if (!levels.CanGoOn(level) || (i == n + 1 && !levels.CanEnd(level))) continue;
      const uint32_t comma = b_->AddPlace(rule);
      b_->Text(at, ",", comma);
      b_->Empty(json_->AfterSpace(comma), next[i * width + level]);
    }
  }
  const uint32_t open = b_->AddPlace(rule);
  b_->Text(b_->start(rule), "{", open);
  const uint32_t first = json_->AfterSpace(open);
  if (needed == 0 && levels.CanEnd(0)) b_->Text(first, "}", b_->end(rule));
  if (levels.CanGoOn(0)) b_->Empty(first, next[0]);
  AddMembers(object, next, behind, width);
  return absl::OkStatus();
}

void SchemaRules::AddMembers(const ObjectForm& object, const std::vector<uint32_t>& next,
                             const std::vector<uint32_t>& behind, size_t width) {
  const auto& properties = object.properties;
  const size_t n = properties.size();
  const Levels levels(object);
  const auto place = [width](const std::vector<uint32_t>& places, size_t i, uint32_t level) {
    return places[i * width + level];
  };
  const uint32_t others = object.rests.empty() ? kNoRule : Others(object);
  for (uint32_t level = 0; level <= levels.top; ++level) {
    const uint32_t after = levels.After(level);
    for (const Block& block : BlocksOf(properties)) {
      const bool tree = block.last - block.first > kBlockWithoutTree;
      if (tree) {
        NameTree(object, block.first, block.last, place(next, block.first, level),
                 [&](size_t i) { return place(behind, i + 1, after); });
        if (!block.required) {
          b_->Empty(place(next, block.first, level), place(next, block.last, level));
        }
      }
      for (size_t i = block.first + tree; i < block.last; ++i) {
        b_->Call(place(next, i, level), Named(properties[i]), place(behind, i + 1, after));
        if (!properties[i].required) b_->Empty(place(next, i, level), place(next, i + 1, level));
      }
    }
    if (others == kNoRule) continue;
    for (size_t i = n; i < n + 2; ++i) {
      b_->Call(place(next, i, level), others, place(behind, n + 1, after));
    }
  }
}

void SchemaRules::NameTree(const ObjectForm& object, size_t first, size_t last, uint32_t from,
                           const std::function<uint32_t(size_t)>& to) {
  const uint32_t rule = b_->rule_of(from);
  std::map<std::pair<uint32_t, char>, uint32_t> places;
  for (size_t i = first; i < last && b_->n_places() <= kRulePlacesMax; ++i) {
    uint32_t at = from;
    for (const char c : Quoted(object.properties[i].name)) {
      const auto [it, fresh] = places.insert({{at, c}, 0});
      if (fresh) {
        it->second = b_->AddPlace(rule);
        b_->Text(at, std::string_view(&c, 1), it->second);
      }
      at = it->second;
    }
    ColonValue(at, object.properties[i].value, to(i));
  }
}

}  // namespace chimera
