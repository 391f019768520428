// What the keywords of one schema ask for, choices aside.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/json_formats.h"
#include "grammar/regex.h"
#include "grammar/schema_forms.h"

namespace chimera {
namespace {

using Kind = JsonTree::Kind;

bool IsTrue(const JsonTree* tree) {
  return tree != nullptr && tree->Is(Kind::kBoolean) && tree->flag;
}

// The bit of a type's name, of "integer" one above the others; 0: no type.
uint32_t TypeBit(std::string_view name) {
  constexpr std::string_view kNames[] = {"null",  "boolean", "number", "string",
                                         "array", "object",  "integer"};
  for (size_t i = 0; i < 7; ++i) {
    if (name == kNames[i]) return 1u << i;
  }
  return 0;
}
constexpr uint32_t kNumberBit = 1u << int(JsonType::kNumber);
constexpr uint32_t kIntegerBit = 1u << kJsonTypes;

// 1 more than the other, both integers that are not too large.
bool Follows(const Decimal& a, const Decimal& b) {
  if (!a.integer() || !b.integer() || a.point > 15 || b.point > 15) return false;
  return std::stoll(a.Text()) + 1 == std::stoll(b.Text());
}

// Numbers one by one are as many readings; rows of integers are one.
void AddNumbers(std::vector<Decimal> numbers, std::vector<Form>* forms) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && Follows(numbers[last], numbers[last + 1])) ++last;
    Form form = FormOf(JsonType::kNumber);
    if (last > i) form.number = NumberSet::Integers();
    form.number.min = numbers[i];
    form.number.max = numbers[last];
    forms->push_back(std::move(form));
    i = last + 1;
  }
}

}  // namespace

absl::StatusOr<FormId> SchemaForms::Sub(SchemaNode node, const JsonTree& tree,
                                        std::string_view suffix) {
  return Of(source_->Below(node, tree, suffix));
}

absl::StatusOr<std::vector<Form>> SchemaForms::Simple(SchemaNode node) {
  const JsonTree& tree = source_->Tree(node);
  for (const char* keyword : {"$dynamicRef", "$recursiveRef"}) {
    if (tree.Find(keyword)) return source_->Refuse(node, keyword, "is not supported");
  }
  CHIMERA_ASSIGN_OR_RETURN(Forms forms, Types(node));
  if (const JsonTree* values = tree.Find("enum")) {
    if (!values->Is(Kind::kArray)) return source_->Refuse(node, "enum", "is not an array");
    CHIMERA_ASSIGN_OR_RETURN(const Forms allowed, Values(node, *values));
    CHIMERA_ASSIGN_OR_RETURN(forms, And(forms, allowed));
  }
  if (const JsonTree* value = tree.Find("const")) {
    CHIMERA_ASSIGN_OR_RETURN(forms, And(forms, FormsOfValue(*value)));
  }
  Forms limits = AllForms();
  CHIMERA_RETURN_IF_ERROR(Numbers(node, &limits[size_t(JsonType::kNumber)].number));
  CHIMERA_RETURN_IF_ERROR(Strings(node, &limits[size_t(JsonType::kString)].string));
  CHIMERA_RETURN_IF_ERROR(Arrays(node, &limits[size_t(JsonType::kArray)]));
  CHIMERA_RETURN_IF_ERROR(Objects(node, &limits[size_t(JsonType::kObject)]));
  std::erase_if(limits, [&](const Form& limit) {
    return std::none_of(forms.begin(), forms.end(),
                        [&](const Form& form) { return form.type == limit.type; });
  });
  return And(forms, limits);
}

absl::StatusOr<std::vector<Form>> SchemaForms::Types(SchemaNode node) {
  const JsonTree* type = source_->Tree(node).Find("type");
  if (type == nullptr) return AllForms();
  std::vector<const JsonTree*> names = {type};
  if (type->Is(Kind::kArray)) {
    names.clear();
    for (const JsonTree& item : type->items) names.push_back(&item);
  }
  uint32_t bits = 0;
  for (const JsonTree* name : names) {
    const uint32_t bit = name->Is(Kind::kString) ? TypeBit(name->text) : 0;
    if (bit == 0) return source_->Refuse(node, "type", "is no type, or a list with what is none");
    bits |= bit;
  }
  Forms forms;
  for (int t = 0; t < kJsonTypes; ++t) {
    if (bits & (1u << t)) forms.push_back(FormOf(JsonType(t)));
  }
  if ((bits & kIntegerBit) && !(bits & kNumberBit)) {
    forms.push_back(FormOf(JsonType::kNumber));
    forms.back().number = NumberSet::Integers();
  }
  return forms;
}

absl::StatusOr<std::vector<Form>> SchemaForms::Values(SchemaNode node, const JsonTree& values) {
  Forms forms;
  std::vector<std::string> texts;
  std::vector<Decimal> numbers;
  uint8_t booleans = 0;
  bool null = false;
  for (const JsonTree& value : values.items) {
    CHIMERA_RETURN_IF_ERROR(Spend(1));
    if (value.Is(Kind::kString)) {
      texts.push_back(value.text);
    } else if (value.Is(Kind::kNumber)) {
      auto number = Decimal::Parse(value.text);
      if (!number.ok()) return source_->At(node, "enum", number.status());
      numbers.push_back(*std::move(number));
    } else if (value.Is(Kind::kBoolean)) {
      booleans |= value.flag ? 2 : 1;
    } else if (value.Is(Kind::kNull)) {
      null = true;
    } else {
      forms.push_back(FormsOfValue(value)[0]);
    }
  }
  if (null) forms.push_back(FormOf(JsonType::kNull));
  if (booleans != 0) {
    forms.push_back(FormOf(JsonType::kBoolean));
    forms.back().booleans = booleans;
  }
  AddNumbers(std::move(numbers), &forms);
  if (!texts.empty()) {
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    forms.push_back(FormOf(JsonType::kString));
    forms.back().string.one_of = std::make_shared<const std::vector<std::string>>(std::move(texts));
  }
  return forms;
}

absl::StatusOr<std::optional<Decimal>> SchemaForms::Bound(SchemaNode node, const char* keyword) {
  const JsonTree* value = source_->Tree(node).Find(keyword);
  if (value == nullptr || value->Is(Kind::kBoolean)) return std::nullopt;
  if (!value->Is(Kind::kNumber)) return source_->Refuse(node, keyword, "is not a number");
  auto number = Decimal::Parse(value->text);
  if (!number.ok()) return source_->At(node, keyword, number.status());
  return *std::move(number);
}

absl::Status SchemaForms::Numbers(SchemaNode node, NumberSet* out) {
  const JsonTree& tree = source_->Tree(node);
  const auto add = [&](const NumberSet& set, const char* keyword) -> absl::Status {
    auto both = NumberSet::And(*out, set);
    if (!both.ok()) return source_->At(node, keyword, both.status());
    *out = *std::move(both);
    return absl::OkStatus();
  };
  // Draft 4 says with a boolean that the bound beside it is open.
  for (const auto& [keyword, open] : {std::pair{"minimum", IsTrue(tree.Find("exclusiveMinimum"))},
                                      std::pair{"exclusiveMinimum", true}}) {
    CHIMERA_ASSIGN_OR_RETURN(auto bound, Bound(node, keyword));
    if (!bound) continue;
    CHIMERA_RETURN_IF_ERROR(add({.min = std::move(bound), .min_open = open}, keyword));
  }
  for (const auto& [keyword, open] : {std::pair{"maximum", IsTrue(tree.Find("exclusiveMaximum"))},
                                      std::pair{"exclusiveMaximum", true}}) {
    CHIMERA_ASSIGN_OR_RETURN(auto bound, Bound(node, keyword));
    if (!bound) continue;
    CHIMERA_RETURN_IF_ERROR(add({.max = std::move(bound), .max_open = open}, keyword));
  }
  CHIMERA_ASSIGN_OR_RETURN(const auto step, Bound(node, "multipleOf"));
  if (!step) return absl::OkStatus();
  const auto grid = NumberSet::Multiples(*step);
  if (!grid.ok()) return source_->At(node, "multipleOf", grid.status());
  return add(*grid, "multipleOf");
}

absl::Status SchemaForms::Count(SchemaNode node, const char* keyword, uint32_t* out) {
  CHIMERA_ASSIGN_OR_RETURN(const auto bound, Bound(node, keyword));
  if (!bound) return absl::OkStatus();
  if (bound->negative || !bound->integer()) {
    return source_->Refuse(node, keyword, "is not a number of things");
  }
  *out = bound->point > 9 ? kUnbounded : static_cast<uint32_t>(std::stoul(bound->Text()));
  if (std::string_view(keyword).substr(0, 3) == "min" && *out > kSchemaCountMax) {
    return source_->Limit(node, keyword, absl::StrCat("is more than ", kSchemaCountMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<const ByteDfa*> SchemaForms::Pattern(std::string_view pattern) {
  const auto known = patterns_.find(std::string(pattern));
  if (known != patterns_.end()) return known->second;
  auto dfa = CompileRegex(pattern, {.ecma_search = true, .steps_left = &regex_steps_left_});
  if (!dfa.ok()) return dfa.status();
  const ByteDfa* kept = nullptr;  // any text
  if (!(*dfa == ByteDfa::AnyText())) {
    CHIMERA_ASSIGN_OR_RETURN(kept, Checked(std::move(dfa)));
  }
  patterns_.insert({std::string(pattern), kept});
  return kept;
}

absl::Status SchemaForms::Strings(SchemaNode node, StringForm* out) {
  const JsonTree& tree = source_->Tree(node);
  CHIMERA_RETURN_IF_ERROR(Count(node, "minLength", &out->min));
  CHIMERA_RETURN_IF_ERROR(Count(node, "maxLength", &out->max));
  if (const JsonTree* pattern = tree.Find("pattern")) {
    if (!pattern->Is(Kind::kString)) return source_->Refuse(node, "pattern", "is not a string");
    const auto dfa = Pattern(pattern->text);
    if (!dfa.ok()) return source_->At(node, "pattern", dfa.status());
    if (*dfa != nullptr) out->all_of.push_back(*dfa);
  }
  const JsonTree* format = tree.Find("format");
  if (format != nullptr && format->Is(Kind::kString)) {
    if (const ByteDfa* dfa = JsonFormat(format->text)) out->all_of.push_back(dfa);
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::Arrays(SchemaNode node, Form* out) {
  const JsonTree& tree = source_->Tree(node);
  ArrayForm& array = out->array;
  CHIMERA_RETURN_IF_ERROR(Count(node, "minItems", &array.min));
  CHIMERA_RETURN_IF_ERROR(Count(node, "maxItems", &array.max));
  const JsonTree* items = tree.Find("items");
  const bool old_list = items != nullptr && items->Is(Kind::kArray);
  const char* list_key = old_list ? "items" : "prefixItems";
  if (const JsonTree* list = tree.Find(list_key)) {
    if (!list->Is(Kind::kArray)) return source_->Refuse(node, list_key, "is not an array");
    for (size_t i = 0; i < list->items.size(); ++i) {
      CHIMERA_ASSIGN_OR_RETURN(const FormId item,
                               Sub(node, list->items[i], absl::StrCat("/", list_key, "/", i)));
      array.first.push_back(item);
    }
  }
  const char* rest_key = old_list ? "additionalItems" : "items";
  if (const JsonTree* rest = tree.Find(rest_key)) {
    CHIMERA_ASSIGN_OR_RETURN(array.rest, Sub(node, *rest, absl::StrCat("/", rest_key)));
  }
  const JsonTree* unevaluated = tree.Find("unevaluatedItems");
  const char* keyword = IsTrue(tree.Find("uniqueItems")) && array.max > 1 ? "uniqueItems"
                        : tree.Find("contains") != nullptr                ? "contains"
                        : unevaluated != nullptr && !IsTrue(unevaluated)  ? "unevaluatedItems"
                                                                          : nullptr;
  if (keyword != nullptr) {
    out->refused = absl::StrCat(source_->Pointer(node), "/", keyword, ": is not supported");
  }
  return absl::OkStatus();
}

}  // namespace chimera
