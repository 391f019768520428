#include "grammar/schema_rules.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grammar/rule_dfa.h"
#include "grammar/rule_string.h"

namespace chimera {
namespace {

constexpr size_t kNumberFormsMax = 200;    // each is a reading of its own
constexpr uint64_t kTextStatesMax = 8000;  // of a pattern times lengths
constexpr uint64_t kTextLengthMin = 16;    // that are tried in any case

// With the pointer, if the message has none yet.
absl::Status Located(const absl::Status& status, const std::string& pointer) {
  if (!status.message().empty() && status.message()[0] == '#') return status;
  return absl::Status(status.code(), absl::StrCat(pointer, ": ", status.message()));
}

}  // namespace

absl::StatusOr<uint32_t> SchemaRules::Add(FormId root) {
  const uint32_t rule = Value(root);
  while (!waiting_.empty()) {
    const FormId id = waiting_.back();
    waiting_.pop_back();
    CHIMERA_RETURN_IF_ERROR(AddValue(id, values_[id]));
    if (b_->n_places() > kRulePlacesMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          forms_->Pointer(id), ": the schema needs more than ", kRulePlacesMax, " places"));
    }
  }
  return rule;
}

uint32_t SchemaRules::Value(FormId id) {
  if (id == kAnything) return json_->AnyValue();
  const auto [it, fresh] = values_.insert({id, 0});
  if (fresh) {
    it->second = b_->AddRule(forms_->Pointer(id));
    waiting_.push_back(id);
  }
  return it->second;
}

absl::Status SchemaRules::AddValue(FormId id, uint32_t rule) {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<Form>* forms, forms_->Expand(id));
  CHIMERA_RETURN_IF_ERROR(forms_->Spend(static_cast<int64_t>(forms->size())));
  const auto numbers =
      static_cast<size_t>(std::count_if(forms->begin(), forms->end(), [](const Form& form) {
        return form.type == JsonType::kNumber;
      }));
  if (numbers > kNumberFormsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(forms_->Pointer(id), ": more than ", kNumberFormsMax, " numbers in a choice"));
  }
  std::vector<std::string> texts;
  for (const Form& form : *forms) {
    if (!form.refused.empty()) return absl::InvalidArgumentError(form.refused);
    if (form.type == JsonType::kString && form.string.one_of) {
      texts.insert(texts.end(), form.string.one_of->begin(), form.string.one_of->end());
      continue;
    }
    const absl::Status status = AddForm(form, rule);
    if (!status.ok()) return Located(status, forms_->Pointer(id));
  }
  if (texts.empty()) return absl::OkStatus();
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  Names names;
  for (const std::string& text : texts) names.push_back({text, b_->end(rule)});
  Texts(b_->start(rule), names);
  return absl::OkStatus();
}

absl::Status SchemaRules::AddForm(const Form& form, uint32_t rule) {
  const uint32_t start = b_->start(rule), end = b_->end(rule);
  switch (form.type) {
    case JsonType::kNull:
      b_->Text(start, "null", end);
      break;
    case JsonType::kBoolean:
      if (form.booleans & 1) b_->Text(start, "false", end);
      if (form.booleans & 2) b_->Text(start, "true", end);
      break;
    case JsonType::kNumber: {
      CHIMERA_ASSIGN_OR_RETURN(const uint32_t number, Number(form.number));
      b_->Call(start, number, end);
      break;
    }
    case JsonType::kString: {
      CHIMERA_ASSIGN_OR_RETURN(const uint32_t string, String(form.string));
      b_->Call(start, string, end);
      break;
    }
    case JsonType::kArray:
      if (!form.unlimited()) return AddArray(form.array, rule);
      b_->Call(start, json_->AnyArray(), end);
      break;
    case JsonType::kObject:
      if (!form.unlimited()) return AddObject(form.object, rule);
      b_->Call(start, json_->AnyObject(), end);
      break;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> SchemaRules::Number(const NumberSet& set) {
  if (set.everything()) return json_->AnyNumber();
  const auto known = numbers_.find(set);
  if (known != numbers_.end()) return known->second;
  const GrammarUse use = json_->checking() ? GrammarUse::kCheck : GrammarUse::kGenerate;
  const uint32_t rule = b_->AddRule("numbers");
  if (set == NumberSet::Integers()) {
    static const ByteDfa* const integers[2] = {
        new ByteDfa(*NumberDfa(NumberSet::Integers(), GrammarUse::kGenerate)),
        new ByteDfa(*NumberDfa(NumberSet::Integers(), GrammarUse::kCheck))};
    AddDfa(b_, b_->start(rule), *integers[json_->checking()], b_->end(rule));
  } else {
    CHIMERA_ASSIGN_OR_RETURN(const ByteDfa dfa, NumberDfa(set, use));
    CHIMERA_RETURN_IF_ERROR(forms_->Spend(dfa.n_states() / 4));
    AddDfa(b_, b_->start(rule), dfa, b_->end(rule));
  }
  numbers_[set] = rule;
  return rule;
}

absl::StatusOr<uint32_t> SchemaRules::String(const StringForm& form) {
  if (form.all_of.empty() && form.min == 0 && form.max == kUnbounded) return json_->AnyString();
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* text, forms_->TextOf(form));
  const auto key = std::pair{text, std::pair{form.min, form.max}};
  const auto known = strings_.find(key);
  if (known != strings_.end()) return known->second;
  const uint32_t rule = b_->AddRule("strings");
  const bool counts = form.min > 0 || form.max != kUnbounded;
  if (text == nullptr) {
    const uint32_t content = b_->AddPlace(rule);
    b_->Text(b_->start(rule), "\"", content);
    b_->SetCounts(rule, form.min, form.max);
    const auto flags = static_cast<uint8_t>(json_->free_flags() | kPlaceCounted);
    json_->FreeText(content, flags, b_->end(rule));
  } else if (!counts) {
    b_->Text(b_->start(rule), "\"", AddStringDfa(b_, rule, *text, json_->bound_flags()));
  } else {
    CHIMERA_RETURN_IF_ERROR(LongText(*text, form, rule));
  }
  strings_[key] = rule;
  return rule;
}

namespace {

// Whether any text of the automaton can go on for as long as it has to and end as soon as it may:
// then a counter beside it decides alone. One more character has to cost one byte at most.
bool CounterDecides(const ByteDfa& text, const StringForm& form) {
  bool returns = false;  // to the start, where the text may not end then
  for (uint32_t s = 1; s < uint32_t(text.n_states()); ++s) {
    for (int byte = 0; byte < 256 && !returns; ++byte) {
      returns = text.Next(s, static_cast<uint8_t>(byte)) == text.start();
    }
  }
  for (uint32_t s = 1; s < uint32_t(text.n_states()); ++s) {
    if (!text.BetweenCharacters(s)) continue;
    if (!text.Accepts(s) && (s != text.start() || returns || form.min == 0)) return false;
    bool goes_on = false;
    for (int byte = 0x20; byte < 0x7F && !goes_on; ++byte) {
      if (byte != '"' && byte != '\\') goes_on = text.Next(s, static_cast<uint8_t>(byte)) != 0;
    }
    if (!goes_on) return false;
  }
  return true;
}

}  // namespace

// A pattern with lengths. Checking counts beside the automaton; generating has to know that what it
// began can be ended in time, so the lengths become states, and where they would be too many only
// shorter texts are generated.
absl::Status SchemaRules::LongText(const ByteDfa& text, const StringForm& form, uint32_t rule) {
  if (json_->checking() || CounterDecides(text, form)) {
    b_->SetCounts(rule, form.min, form.max);
    const auto flags = static_cast<uint8_t>(json_->bound_flags() | kPlaceCounted);
    b_->Text(b_->start(rule), "\"", AddStringDfa(b_, rule, text, flags));
    return absl::OkStatus();
  }
  const uint64_t most =
      std::max(kTextStatesMax / uint64_t(std::max(text.n_states(), 8)), kTextLengthMin);
  uint32_t max = form.max;
  if (max != kUnbounded || form.min > most) {
    max = static_cast<uint32_t>(std::min<uint64_t>(max, std::max<uint64_t>(most, form.min)));
  }
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa lengths, ByteDfa::Characters(form.min, max));
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa both, ByteDfa::And(text, lengths));
  if (both.empty() && max < form.max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("texts of more than ", max, " characters would need too many states"));
  }
  CHIMERA_RETURN_IF_ERROR(forms_->Spend(both.n_states() / 4));
  b_->Text(b_->start(rule), "\"", AddStringDfa(b_, rule, both, json_->bound_flags()));
  return absl::OkStatus();
}

void SchemaRules::Texts(uint32_t from, const Names& names) {
  const uint32_t content = b_->AddPlace(b_->rule_of(from));
  b_->Text(from, "\"", content);
  TextsOrElse(content, names, nullptr, kNoPlace);
}

// The names are a tree along which the automaton walks; off the tree its states are enough.
void SchemaRules::TextsOrElse(uint32_t content, const Names& names, const ByteDfa* dfa,
                              uint32_t else_to) {
  struct Place {
    uint32_t place, state;      // state 0: no text of the automaton begins so
    size_t first, last, depth;  // the names that begin so; none: off the tree
  };
  const uint32_t rule = b_->rule_of(content);
  std::vector<Place> todo = {{content, dfa ? dfa->start() : 0, 0, names.size(), 0}};
  std::unordered_map<uint32_t, uint32_t> off;  // by state
  // Beyond the limit of places nothing is of use any more; Add says so.
  while (!todo.empty() && b_->n_places() <= kRulePlacesMax) {
    const Place at = todo.back();
    todo.pop_back();
    const bool named = at.first < at.last && names[at.first].first.size() == at.depth;
    const bool accepts = at.state != 0 && dfa->Accepts(at.state);
    // Bytes of names first: a state for each, in order.
    std::array<uint32_t, 256> to;
    to.fill(kNoPlace);
    for (size_t i = at.first + named; i < at.last;) {
      const auto byte = static_cast<uint8_t>(names[i].first[at.depth]);
      size_t end = i;
      while (end < at.last && uint8_t(names[end].first[at.depth]) == byte) ++end;
      to[byte] = b_->AddPlace(rule);
      todo.push_back({to[byte], at.state ? dfa->Next(at.state, byte) : 0, i, end, at.depth + 1});
      i = end;
    }
    bool between = true;
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t next = at.state ? dfa->Next(at.state, static_cast<uint8_t>(byte)) : 0;
      if (to[byte] == kNoPlace && next != 0) {
        const auto [it, fresh] = off.insert({next, 0});
        if (fresh) {
          it->second = b_->AddPlace(rule);
          todo.push_back({it->second, next, 0, 0, 0});
        }
        to[byte] = it->second;
      }
      between &= to[byte] == kNoPlace || byte < 0x80 || byte >= 0xC0;
    }
    for (size_t low = 0, byte = 0; byte < 256; ++byte) {
      if (byte < 255 && to[byte + 1] == to[byte]) continue;
      if (to[byte] != kNoPlace) {
        b_->Bytes(at.place, static_cast<uint8_t>(low), static_cast<uint8_t>(byte), to[byte]);
      }
      low = byte + 1;
    }
    const auto flags = static_cast<uint8_t>(json_->bound_flags() | (between ? kPlaceBetween : 0));
    b_->MakeString(at.place, flags, named ? names[at.first].second : accepts ? else_to : kNoPlace);
  }
}

}  // namespace chimera
