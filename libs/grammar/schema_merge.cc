// Two forms at once, and whether anything is left.
#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grammar/schema_forms.h"

namespace chimera {
namespace {

constexpr uint32_t kLengthProductMax = 300;  // longer texts are not looked at for emptiness
constexpr size_t kFormsMax = 20000;

bool Fits(const StringForm& form, const std::string& text) {
  const uint32_t length = CharactersOf(text);
  return length >= form.min && length <= form.max &&
         (!form.one_of || std::binary_search(form.one_of->begin(), form.one_of->end(), text)) &&
         std::all_of(form.all_of.begin(), form.all_of.end(),
                     [&](const ByteDfa* dfa) { return dfa->Matches(text); });
}

StringForm AndStrings(const StringForm& a, const StringForm& b) {
  if (a.one_of || b.one_of) {
    const StringForm& few = a.one_of ? a : b;
    const StringForm& other = a.one_of ? b : a;
    std::vector<std::string> texts;
    for (const std::string& text : *few.one_of) {
      if (Fits(other, text)) texts.push_back(text);
    }
    StringForm both;
    both.one_of = std::make_shared<const std::vector<std::string>>(std::move(texts));
    return both;
  }
  StringForm both = a;
  both.min = std::max(a.min, b.min);
  both.max = std::min(a.max, b.max);
  for (const ByteDfa* dfa : b.all_of) {
    const bool known = std::find(a.all_of.begin(), a.all_of.end(), dfa) != a.all_of.end();
    if (!known) both.all_of.push_back(dfa);
  }
  return both;
}

// What can be seen without looking into values.
bool PlainlyEmpty(const Form& form) {
  switch (form.type) {
    case JsonType::kNull:
      return false;
    case JsonType::kBoolean:
      return form.booleans == 0;
    case JsonType::kNumber:
      return form.number.empty();
    case JsonType::kString:
      return form.string.min > form.string.max ||
             (form.string.one_of && form.string.one_of->empty());
    case JsonType::kArray:
      return form.array.min > form.array.max;
    case JsonType::kObject:
      return form.object.min > form.object.max ||
             std::any_of(form.object.properties.begin(), form.object.properties.end(),
                         [](const auto& p) { return p.required && p.value == kNothing; });
  }
  return false;
}

}  // namespace

FormId RestAt(const ObjectForm& object, std::string_view name) {
  for (const auto& rest : object.rests) {
    if (rest.names == nullptr || rest.names->Matches(name)) return rest.value;
  }
  return kNothing;
}

absl::StatusOr<const ByteDfa*> SchemaForms::Checked(absl::StatusOr<ByteDfa> dfa) {
  if (!dfa.ok()) return dfa.status();
  const ByteDfa* kept = Keep(*std::move(dfa));
  if (states_ > kSchemaStatesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the patterns of the schema need more than ", kSchemaStatesMax, " states"));
  }
  return kept;
}

// Null is any text.
absl::StatusOr<const ByteDfa*> SchemaForms::AndText(const ByteDfa* a, const ByteDfa* b) {
  if (a == b || b == nullptr) return a;
  if (a == nullptr) return b;
  const auto key = std::minmax(a, b);
  const auto known = both_.find(key);
  if (known != both_.end()) return known->second;
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* both, Checked(ByteDfa::And(*a, *b)));
  both_.insert({key, both});
  return both;
}

absl::StatusOr<const ByteDfa*> SchemaForms::MinusText(const ByteDfa* a, const ByteDfa* b) {
  const ByteDfa& any = ByteDfa::AnyText();
  return Checked(ByteDfa::Minus(a == nullptr ? any : *a, b == nullptr ? any : *b));
}

absl::StatusOr<const ByteDfa*> SchemaForms::TextOf(const StringForm& form) {
  const ByteDfa* text = nullptr;
  for (const ByteDfa* dfa : form.all_of) {
    CHIMERA_ASSIGN_OR_RETURN(text, AndText(text, dfa));
  }
  return text;
}

absl::StatusOr<const ByteDfa*> SchemaForms::WholeTextOf(const StringForm& form) {
  if (form.one_of) return Checked(TextsDfa(*form.one_of));
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* text, TextOf(form));
  if (form.min == 0 && form.max == kUnbounded) return text ? text : &ByteDfa::AnyText();
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* lengths,
                           Checked(ByteDfa::Characters(form.min, form.max)));
  return AndText(text, lengths);
}

absl::StatusOr<ByteDfa> TextsDfa(const std::vector<std::string>& texts) {
  ByteDfa::Parts parts;
  size_t bytes = 0;
  for (const std::string& text : texts) {
    bytes += text.size();
    for (const char c : text) {
      uint8_t& own = parts.classes[uint8_t(c)];
      if (own == 0 && parts.n_classes < 256) own = static_cast<uint8_t>(parts.n_classes++);
    }
  }
  if (bytes > size_t{kDfaStatesMax}) {
    return absl::ResourceExhaustedError(
        absl::StrCat("an automaton of texts with ", bytes, " bytes, the limit is ", kDfaStatesMax));
  }
  const auto n = static_cast<size_t>(parts.n_classes);
  parts.next.assign(2 * n, 0);
  parts.accepts.assign(2, false);
  parts.start = 1;
  for (const std::string& text : texts) {
    uint32_t at = 1;
    for (const char c : text) {
      const size_t edge = at * n + parts.classes[uint8_t(c)];
      if (parts.next[edge] == 0) {
        parts.next[edge] = static_cast<uint32_t>(parts.accepts.size());
        parts.accepts.push_back(false);
        parts.next.resize(parts.next.size() + n, 0);
      }
      at = parts.next[edge];
    }
    parts.accepts[at] = true;
  }
  return ByteDfa(std::move(parts));
}

absl::StatusOr<std::vector<Form>> SchemaForms::And(const Forms& a, const Forms& b) {
  Forms both;
  for (const Form& x : a) {
    for (const Form& y : b) {
      if (x.type != y.type) continue;
      CHIMERA_ASSIGN_OR_RETURN(Form form, AndForm(x, y));
      if (!PlainlyEmpty(form)) both.push_back(std::move(form));
    }
    if (both.size() > kFormsMax) {
      return source_->Limit(at_, "", absl::StrCat("choices multiply to more than ", kFormsMax));
    }
  }
  DropCovered(&both);
  return both;
}

absl::StatusOr<Form> SchemaForms::AndForm(const Form& a, const Form& b) {
  CHIMERA_RETURN_IF_ERROR(Spend(1));
  if (b.unlimited()) return a;
  if (a.unlimited()) return b;
  Form both = a;
  if (both.refused.empty()) both.refused = b.refused;
  switch (a.type) {
    case JsonType::kNull:
      break;
    case JsonType::kBoolean:
      both.booleans &= b.booleans;
      break;
    case JsonType::kNumber: {
      auto number = NumberSet::And(a.number, b.number);
      if (!number.ok()) return source_->At(at_, "", number.status());
      both.number = *std::move(number);
      break;
    }
    case JsonType::kString:
      both.string = AndStrings(a.string, b.string);
      break;
    case JsonType::kArray:
      CHIMERA_RETURN_IF_ERROR(AndArrays(b.array, &both.array));
      break;
    case JsonType::kObject:
      CHIMERA_RETURN_IF_ERROR(AndObjects(b.object, &both.object));
      break;
  }
  return both;
}

absl::Status SchemaForms::AndArrays(const ArrayForm& b, ArrayForm* a) {
  ArrayForm both;
  const size_t n = std::max(a->first.size(), b.first.size());
  CHIMERA_RETURN_IF_ERROR(Spend(static_cast<int64_t>(n)));
  for (size_t i = 0; i < n; ++i) {
    CHIMERA_ASSIGN_OR_RETURN(const FormId item, Both(a->At(i), b.At(i)));
    both.first.push_back(item);
  }
  CHIMERA_ASSIGN_OR_RETURN(both.rest, Both(a->rest, b.rest));
  both.min = std::max(a->min, b.min);
  both.max = std::min(a->max, b.max);
  *a = std::move(both);
  return absl::OkStatus();
}

absl::Status SchemaForms::AndObjects(const ObjectForm& b, ObjectForm* a) {
  CHIMERA_RETURN_IF_ERROR(Spend(static_cast<int64_t>(a->properties.size() + b.properties.size())));
  ObjectForm both;
  both.min = std::max(a->min, b.min);
  both.max = std::min(a->max, b.max);
  std::unordered_map<std::string_view, const ObjectForm::Property*> others;
  for (const auto& property : b.properties) others[property.name] = &property;
  for (const auto& property : a->properties) {
    const auto at = others.find(property.name);
    const bool found = at != others.end();
    CHIMERA_ASSIGN_OR_RETURN(
        const FormId value,
        Both(property.value, found ? at->second->value : RestAt(b, property.name)));
    both.properties.push_back(
        {property.name, value, property.required || (found && at->second->required)});
    if (found) others.erase(at);
  }
  for (const auto& property : b.properties) {
    if (!others.contains(property.name)) continue;
    CHIMERA_ASSIGN_OR_RETURN(const FormId value, Both(property.value, RestAt(*a, property.name)));
    both.properties.push_back({property.name, value, property.required});
  }
  both.rests.clear();
  for (const auto& x : a->rests) {
    for (const auto& y : b.rests) {
      CHIMERA_ASSIGN_OR_RETURN(const FormId value, Both(x.value, y.value));
      const auto names = AndText(x.names, y.names);
      if (!names.ok()) return source_->At(at_, "", names.status());
      if (value == kNothing || (*names != nullptr && (*names)->empty())) continue;
      both.rests.push_back({*names, value});
    }
  }
  *a = std::move(both);
  return absl::OkStatus();
}

bool SchemaForms::EmptyText(const StringForm& form) {
  if (form.one_of || form.all_of.empty()) return false;
  StringForm looked_at = form;
  if (form.max > kLengthProductMax) looked_at.max = kUnbounded;
  if (form.min > kLengthProductMax) looked_at.min = 0;
  const auto text = WholeTextOf(looked_at);
  return text.ok() && (*text)->empty();
}

bool SchemaForms::Empty(const Form& form, int depth) {
  if (PlainlyEmpty(form)) return true;
  switch (form.type) {
    case JsonType::kNumber: {
      const NumberSet& set = form.number;
      if (!set.min || !set.max || set.step == 0) return false;
      const auto dfa = NumberDfa(set, GrammarUse::kGenerate);
      return dfa.ok() && dfa->empty();
    }
    case JsonType::kString:
      return EmptyText(form.string);
    case JsonType::kArray: {
      const size_t n = std::min<size_t>(form.array.min, form.array.first.size() + 1);
      for (size_t i = 0; i < n; ++i) {
        if (Empty(form.array.At(i), depth - 1)) return true;
      }
      return false;
    }
    case JsonType::kObject:
      return std::any_of(form.object.properties.begin(), form.object.properties.end(),
                         [&](const auto& p) { return p.required && Empty(p.value, depth - 1); });
    default:
      return false;
  }
}

bool SchemaForms::Empty(FormId id, int depth) {
  if (id == kAnything || id == kNothing) return id == kNothing;
  const auto known = empty_.find(id);
  if (known != empty_.end()) return known->second;
  if (depth <= 0 || expanding_[id]) return false;
  empty_[id] = false;  // while it is looked at: recursion decides nothing
  const auto forms = Expand(id);
  const bool empty = forms.ok() && std::all_of((*forms)->begin(), (*forms)->end(),
                                               [&](const Form& f) { return Empty(f, depth); });
  return empty_[id] = empty;
}

}  // namespace chimera
