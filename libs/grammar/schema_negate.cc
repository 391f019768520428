// What fits when a schema does not: any value that breaks one of its keywords. Where rules cannot
// express that, the form says so, and it is an error if something still needs it in the end.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/json_formats.h"
#include "grammar/schema_forms.h"

namespace chimera {
namespace {

using Kind = JsonTree::Kind;

Form Refused(JsonType type, const std::string& pointer, std::string_view keyword) {
  Form form = FormOf(type);
  form.refused = absl::StrCat(pointer, "/", ToAbsl(keyword), ": its negation is not supported");
  return form;
}

}  // namespace

absl::StatusOr<std::vector<Form>> SchemaForms::Negation(SchemaNode node) {
  const JsonTree& tree = source_->Tree(node);
  at_ = node;
  Forms out;
  if (tree.Find("type") != nullptr) {
    CHIMERA_ASSIGN_OR_RETURN(const Forms types, Types(node));
    CHIMERA_RETURN_IF_ERROR(NegateValues(types, &out));
  }
  if (const JsonTree* values = tree.Find("enum")) {
    if (!values->Is(Kind::kArray)) return source_->Refuse(node, "enum", "is not an array");
    CHIMERA_ASSIGN_OR_RETURN(const Forms allowed, Values(node, *values));
    CHIMERA_RETURN_IF_ERROR(NegateValues(allowed, &out));
  }
  if (const JsonTree* value = tree.Find("const")) {
    CHIMERA_RETURN_IF_ERROR(NegateValues(FormsOfValue(*value), &out));
  }
  CHIMERA_RETURN_IF_ERROR(NegateNumbers(node, &out));
  CHIMERA_RETURN_IF_ERROR(NegateStrings(node, &out));
  CHIMERA_RETURN_IF_ERROR(NegateCounts(node, &out));
  CHIMERA_RETURN_IF_ERROR(NegateArrays(node, &out));
  CHIMERA_RETURN_IF_ERROR(NegateObjects(node, &out));
  CHIMERA_RETURN_IF_ERROR(NegateChoices(node, &out));
  DropCovered(&out);
  return out;
}

// All that is none of some types or values, a choice of which is given.
absl::Status SchemaForms::NegateValues(const Forms& values, Forms* out) {
  Forms left = AllForms();
  for (const Form& value : values) {
    Forms cut;
    for (Form& form : left) {
      if (form.type == value.type) {
        CHIMERA_RETURN_IF_ERROR(Cut(value, std::move(form), &cut));
      } else {
        cut.push_back(std::move(form));
      }
    }
    left = std::move(cut);
  }
  out->insert(out->end(), left.begin(), left.end());
  return absl::OkStatus();
}

// What is left of a form without a value, or the values, of its type.
absl::Status SchemaForms::Cut(const Form& value, Form form, Forms* out) {
  if (value.unlimited()) return absl::OkStatus();
  if (form.type == JsonType::kBoolean) {
    form.booleans &= static_cast<uint8_t>(~value.booleans);
    if (form.booleans != 0) out->push_back(std::move(form));
  } else if (form.type == JsonType::kString) {
    auto texts = TextsDfa(*value.string.one_of);
    if (!texts.ok()) return source_->At(at_, "", texts.status());
    CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* listed, Checked(std::move(texts)));
    CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* others, MinusText(nullptr, listed));
    form.string.all_of.push_back(others);
    out->push_back(std::move(form));
  } else if (form.type == JsonType::kNumber && value.number.step == 0 && value.refused.empty()) {
    Form below = FormOf(JsonType::kNumber), above = below;
    below.number.max = value.number.min;
    above.number.min = value.number.max;
    below.number.max_open = above.number.min_open = true;
    CHIMERA_ASSIGN_OR_RETURN(const Forms parts, And(Forms{std::move(form)}, Forms{below, above}));
    out->insert(out->end(), parts.begin(), parts.end());
  } else {
    form.refused = source_->Pointer(at_) + (form.type == JsonType::kNumber
                                                ? ": numbers but integers are not supported"
                                                : ": all arrays or objects but some are not "
                                                  "supported");
    out->push_back(std::move(form));
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::NegateNumbers(SchemaNode node, Forms* out) {
  NumberSet set;
  CHIMERA_RETURN_IF_ERROR(Numbers(node, &set));
  if (set.min) {
    out->push_back(FormOf(JsonType::kNumber));
    out->back().number.max = set.min;
    out->back().number.max_open = !set.min_open;
  }
  if (set.max) {
    out->push_back(FormOf(JsonType::kNumber));
    out->back().number.min = set.max;
    out->back().number.min_open = !set.max_open;
  }
  if (set.step != 0) {
    out->push_back(Refused(JsonType::kNumber, source_->Pointer(node), "multipleOf"));
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::NegateStrings(SchemaNode node, Forms* out) {
  StringForm form;
  CHIMERA_RETURN_IF_ERROR(Strings(node, &form));
  for (const ByteDfa* dfa : form.all_of) {
    CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* others, MinusText(nullptr, dfa));
    if (others->empty()) continue;
    out->push_back(FormOf(JsonType::kString));
    out->back().string.all_of.push_back(others);
  }
  if (form.min > 0) {
    out->push_back(FormOf(JsonType::kString));
    out->back().string.max = form.min - 1;
  }
  if (form.max != kUnbounded) {
    out->push_back(FormOf(JsonType::kString));
    out->back().string.min = form.max + 1;
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::NegateCounts(SchemaNode node, Forms* out) {
  for (const auto& [type, low, high] : {std::tuple{JsonType::kArray, "minItems", "maxItems"},
                                        {JsonType::kObject, "minProperties", "maxProperties"}}) {
    uint32_t min = 0, max = kUnbounded;
    CHIMERA_RETURN_IF_ERROR(Count(node, low, &min));
    CHIMERA_RETURN_IF_ERROR(Count(node, high, &max));
    const auto add = [&, type = type](uint32_t least, uint32_t most) {
      Form form = FormOf(type);
      (type == JsonType::kArray ? form.array.min : form.object.min) = least;
      (type == JsonType::kArray ? form.array.max : form.object.max) = most;
      out->push_back(std::move(form));
    };
    if (min > 0) add(0, min - 1);
    if (max != kUnbounded) add(max + 1, kUnbounded);
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::NegateArrays(SchemaNode node, Forms* out) {
  const JsonTree& tree = source_->Tree(node);
  for (const char* keyword :
       {"items", "prefixItems", "additionalItems", "uniqueItems", "contains", "unevaluatedItems"}) {
    const JsonTree* value = tree.Find(keyword);
    if (value == nullptr) continue;
    const bool is_true = value->Is(Kind::kBoolean) && value->flag;
    const bool nothing = keyword == std::string_view("uniqueItems") ? !is_true : is_true;
    if (!nothing) out->push_back(Refused(JsonType::kArray, source_->Pointer(node), keyword));
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::NegateObjects(SchemaNode node, Forms* out) {
  const JsonTree& tree = source_->Tree(node);
  const auto add = [&](const std::string& name, FormId value, bool required) {
    Form form = FormOf(JsonType::kObject);
    form.object.properties.push_back({name, value, required});
    out->push_back(std::move(form));
  };
  if (const JsonTree* required = tree.Find("required")) {
    if (!required->Is(Kind::kArray)) return source_->Refuse(node, "required", "is not an array");
    for (const JsonTree& name : required->items) add(name.text, kNothing, false);
  }
  if (const JsonTree* properties = tree.Find("properties")) {
    for (const auto& [name, value] : properties->members) {
      const SchemaNode part = source_->Below(node, value, "/properties" + PointerToken(name));
      CHIMERA_ASSIGN_OR_RETURN(const FormId fails, InternFlat({{Sort::kFails, part}}));
      if (fails != kNothing) add(name, fails, true);
    }
  }
  for (const char* keyword :
       {"additionalProperties", "patternProperties", "propertyNames", "dependencies",
        "dependentRequired", "dependentSchemas", "unevaluatedProperties"}) {
    const JsonTree* value = tree.Find(keyword);
    if (value == nullptr || (value->Is(Kind::kBoolean) && value->flag)) continue;
    if (value->Is(Kind::kObject) && value->members.empty()) continue;
    out->push_back(Refused(JsonType::kObject, source_->Pointer(node), keyword));
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::AddFailing(SchemaNode node, const JsonTree& tree, std::string_view suffix,
                                     Forms* out) {
  const SchemaNode part = source_->Below(node, tree, suffix);
  CHIMERA_ASSIGN_OR_RETURN(const Forms forms, ExpandLiterals({{Sort::kFails, part}}));
  out->insert(out->end(), forms.begin(), forms.end());
  return absl::OkStatus();
}

absl::Status SchemaForms::NegateChoices(SchemaNode node, Forms* out) {
  const JsonTree& tree = source_->Tree(node);
  if (const JsonTree* ref = tree.Find("$ref")) {
    CHIMERA_ASSIGN_OR_RETURN(const SchemaNode target, source_->Resolve(node, ref->text));
    CHIMERA_ASSIGN_OR_RETURN(const Forms forms, ExpandLiterals({{Sort::kFails, target}}));
    out->insert(out->end(), forms.begin(), forms.end());
  }
  if (const JsonTree* all = tree.Find("allOf")) {
    for (size_t i = 0; i < all->items.size(); ++i) {
      CHIMERA_RETURN_IF_ERROR(AddFailing(node, all->items[i], absl::StrCat("/allOf/", i), out));
    }
  }
  if (const JsonTree* part = tree.Find("not")) {
    CHIMERA_ASSIGN_OR_RETURN(const Forms forms,
                             ExpandLiterals({{Sort::kHolds, source_->Below(node, *part, "/not")}}));
    out->insert(out->end(), forms.begin(), forms.end());
  }
  if (const JsonTree* any = tree.Find("anyOf")) {
    Literals literals;
    for (size_t i = 0; i < any->items.size(); ++i) {
      literals.push_back(
          {Sort::kFails, source_->Below(node, any->items[i], absl::StrCat("/anyOf/", i))});
    }
    CHIMERA_ASSIGN_OR_RETURN(const Forms forms, ExpandLiterals(std::move(literals)));
    out->insert(out->end(), forms.begin(), forms.end());
  }
  for (const char* keyword : {"oneOf", "if", "$dynamicRef", "$recursiveRef"}) {
    if (tree.Find(keyword) == nullptr) continue;
    for (const Form& form : AllForms()) {
      out->push_back(Refused(form.type, source_->Pointer(node), keyword));
    }
  }
  return absl::OkStatus();
}

}  // namespace chimera
