#include "grammar/schema_forms.h"

#include <algorithm>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"

namespace chimera {
namespace {

// Whether a node says more than what it refers to.
bool OnlyRefers(const JsonTree& tree) {
  return std::none_of(tree.members.begin(), tree.members.end(), [](const auto& member) {
    return IsSchemaKeyword(member.first) && member.first != "$ref" && member.first != "allOf" &&
           member.first != "not";
  });
}

int Keywords(const JsonTree& tree) {
  return static_cast<int>(
      std::count_if(tree.members.begin(), tree.members.end(),
                    [](const auto& member) { return IsSchemaKeyword(member.first); }));
}

}  // namespace

bool IsSchemaKeyword(std::string_view keyword) {
  static const auto* known = new std::unordered_set<std::string_view>{"$ref",
                                                                      "$dynamicRef",
                                                                      "$recursiveRef",
                                                                      "type",
                                                                      "enum",
                                                                      "const",
                                                                      "not",
                                                                      "allOf",
                                                                      "anyOf",
                                                                      "oneOf",
                                                                      "if",
                                                                      "then",
                                                                      "else",
                                                                      "minimum",
                                                                      "maximum",
                                                                      "exclusiveMinimum",
                                                                      "exclusiveMaximum",
                                                                      "multipleOf",
                                                                      "minLength",
                                                                      "maxLength",
                                                                      "pattern",
                                                                      "format",
                                                                      "items",
                                                                      "prefixItems",
                                                                      "additionalItems",
                                                                      "minItems",
                                                                      "maxItems",
                                                                      "uniqueItems",
                                                                      "contains",
                                                                      "minContains",
                                                                      "maxContains",
                                                                      "unevaluatedItems",
                                                                      "properties",
                                                                      "required",
                                                                      "additionalProperties",
                                                                      "patternProperties",
                                                                      "propertyNames",
                                                                      "minProperties",
                                                                      "maxProperties",
                                                                      "dependencies",
                                                                      "dependentRequired",
                                                                      "dependentSchemas",
                                                                      "unevaluatedProperties"};
  return known->contains(keyword);
}

Form FormOf(JsonType type) {
  Form form;
  form.type = type;
  return form;
}

std::vector<Form> AllForms() {
  std::vector<Form> forms;
  for (int type = 0; type < kJsonTypes; ++type) forms.push_back(FormOf(JsonType(type)));
  return forms;
}

bool Form::unlimited() const {
  if (!refused.empty()) return false;
  switch (type) {
    case JsonType::kNull:
      return true;
    case JsonType::kBoolean:
      return booleans == 3;
    case JsonType::kNumber:
      return number.everything();
    case JsonType::kString:
      return string.all_of.empty() && string.min == 0 && string.max == kUnbounded && !string.one_of;
    case JsonType::kArray:
      return array.first.empty() && array.rest == kAnything && array.min == 0 &&
             array.max == kUnbounded;
    case JsonType::kObject:
      return object.properties.empty() && object.rests.size() == 1 &&
             object.rests[0].names == nullptr && object.rests[0].value == kAnything &&
             object.min == 0 && object.max == kUnbounded;
  }
  return false;
}

void DropCovered(std::vector<Form>* forms) {
  uint32_t free_types = 0;
  for (const Form& form : *forms) free_types |= uint32_t{form.unlimited()} << int(form.type);
  if (free_types == 0) return;
  uint32_t kept = 0;
  std::erase_if(*forms, [&](const Form& form) {
    const uint32_t bit = 1u << int(form.type);
    if (!(free_types & bit)) return false;
    if (!form.unlimited() || (kept & bit)) return true;
    kept |= bit;
    return false;
  });
}

uint32_t CharactersOf(std::string_view text) {
  return static_cast<uint32_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

SchemaForms::SchemaForms(SchemaSource* source) : source_(source) {
  Intern({});
  Intern({{Sort::kNever, 0}});
  forms_[kAnything] = AllForms();
  forms_[kNothing] = Forms{};
}

absl::Status SchemaForms::Spend(int64_t steps) {
  steps_ += steps;
  if (steps_ <= kSchemaStepsMax) return absl::OkStatus();
  return source_->Limit(
      at_, "",
      absl::StrCat("the schema takes more than ", kSchemaStepsMax, " steps to combine, the limit"));
}

const ByteDfa* SchemaForms::Keep(ByteDfa dfa) {
  states_ += dfa.n_states();
  return &kept_.emplace_back(std::move(dfa));
}

std::string SchemaForms::Pointer(FormId id) const {
  for (const Literal& literal : sets_[id]) {
    if (literal.sort == Sort::kHolds || literal.sort == Sort::kFails) {
      return source_->Pointer(literal.index);
    }
  }
  return source_->Pointer(at_);
}

FormId SchemaForms::Intern(Literals literals) {
  std::sort(literals.begin(), literals.end());
  literals.erase(std::unique(literals.begin(), literals.end()), literals.end());
  if (!literals.empty() && literals.back().sort == Sort::kNever) literals = {literals.back()};
  const auto [it, fresh] = ids_.insert({literals, static_cast<FormId>(sets_.size())});
  if (fresh) {
    sets_.push_back(std::move(literals));
    forms_.emplace_back();
    expanding_.push_back(false);
  }
  return it->second;
}

absl::StatusOr<FormId> SchemaForms::InternFlat(const Literals& literals) {
  Literals flat;
  std::vector<SchemaNode> path;
  for (const Literal& literal : literals) {
    CHIMERA_RETURN_IF_ERROR(Flatten(literal, &flat, &path));
  }
  return Intern(std::move(flat));
}

absl::StatusOr<FormId> SchemaForms::Of(SchemaNode node) {
  return InternFlat({{Sort::kHolds, node}});
}

absl::StatusOr<FormId> SchemaForms::Both(FormId a, FormId b) {
  if (a == b || b == kAnything) return a;
  if (a == kAnything) return b;
  Literals literals = sets_[a];
  literals.insert(literals.end(), sets_[b].begin(), sets_[b].end());
  CHIMERA_RETURN_IF_ERROR(Spend(static_cast<int64_t>(literals.size())));
  return Intern(std::move(literals));
}

FormId SchemaForms::OfValue(const JsonTree& value) {
  values_.push_back(&value);
  return Intern({{Sort::kValue, static_cast<uint32_t>(values_.size() - 1)}});
}

absl::Status SchemaForms::Flatten(Literal literal, Literals* into, std::vector<SchemaNode>* path) {
  if (literal.sort == Sort::kValue || literal.sort == Sort::kNever) {
    into->push_back(literal);
    return absl::OkStatus();
  }
  const SchemaNode node = literal.index;
  const JsonTree& tree = source_->Tree(node);
  CHIMERA_RETURN_IF_ERROR(Spend(1));
  if (tree.Is(JsonTree::Kind::kBoolean)) {
    if (tree.flag != (literal.sort == Sort::kHolds)) into->push_back({Sort::kNever, 0});
    return absl::OkStatus();
  }
  if (!tree.Is(JsonTree::Kind::kObject)) return source_->Refuse(node, "", "is not a schema");
  if (std::find(path->begin(), path->end(), node) != path->end()) {
    return source_->Refuse(node, "", "refers to itself without a value in between");
  }
  if (path->size() >= size_t{kSchemaChainMax}) {
    return source_->Limit(
        node, "", absl::StrCat("more than ", kSchemaChainMax, " references follow each other"));
  }
  path->push_back(node);
  const absl::Status status = literal.sort == Sort::kHolds ? FlattenHolds(node, into, path)
                                                           : FlattenFails(node, into, path);
  path->pop_back();
  return status;
}

absl::Status SchemaForms::FlattenHolds(SchemaNode node, Literals* into,
                                       std::vector<SchemaNode>* path) {
  const JsonTree& tree = source_->Tree(node);
  const Literal own = {Sort::kHolds, node};
  // Once is enough, and what hangs below it is there as well.
  if (std::find(into->begin(), into->end(), own) != into->end()) return absl::OkStatus();
  if (!OnlyRefers(tree)) into->push_back(own);
  if (const JsonTree* ref = tree.Find("$ref")) {
    if (!ref->Is(JsonTree::Kind::kString)) return source_->Refuse(node, "$ref", "is not a string");
    CHIMERA_ASSIGN_OR_RETURN(const SchemaNode target, source_->Resolve(node, ref->text));
    CHIMERA_RETURN_IF_ERROR(Flatten({Sort::kHolds, target}, into, path));
  }
  if (const JsonTree* all = tree.Find("allOf")) {
    if (!all->Is(JsonTree::Kind::kArray)) return source_->Refuse(node, "allOf", "is not an array");
    for (size_t i = 0; i < all->items.size(); ++i) {
      const SchemaNode part = source_->Below(node, all->items[i], absl::StrCat("/allOf/", i));
      CHIMERA_RETURN_IF_ERROR(Flatten({Sort::kHolds, part}, into, path));
    }
  }
  if (const JsonTree* fails = tree.Find("not")) {
    const SchemaNode part = source_->Below(node, *fails, "/not");
    CHIMERA_RETURN_IF_ERROR(Flatten({Sort::kFails, part}, into, path));
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::FlattenFails(SchemaNode node, Literals* into,
                                       std::vector<SchemaNode>* path) {
  const JsonTree& tree = source_->Tree(node);
  const int keywords = Keywords(tree);
  if (keywords == 0) {
    into->push_back({Sort::kNever, 0});
    return absl::OkStatus();
  }
  if (const JsonTree* part = tree.Find("not"); part != nullptr && keywords == 1) {
    return Flatten({Sort::kHolds, source_->Below(node, *part, "/not")}, into, path);
  }
  if (const JsonTree* ref = tree.Find("$ref");
      ref != nullptr && keywords == 1 && ref->Is(JsonTree::Kind::kString)) {
    CHIMERA_ASSIGN_OR_RETURN(const SchemaNode target, source_->Resolve(node, ref->text));
    return Flatten({Sort::kFails, target}, into, path);
  }
  into->push_back({Sort::kFails, node});
  return absl::OkStatus();
}

absl::StatusOr<const std::vector<Form>*> SchemaForms::Expand(FormId id) {
  if (forms_[id].has_value()) return &*forms_[id];
  if (expanding_[id]) {
    return absl::InvalidArgumentError(
        absl::StrCat(Pointer(id), ": refers to itself without a value in between"));
  }
  if (chain_ >= kSchemaChainMax) {
    return absl::ResourceExhaustedError(absl::StrCat(Pointer(id), ": more than ", kSchemaChainMax,
                                                     " choices are within each other"));
  }
  const Literals literals = sets_[id];
  expanding_[id] = true;
  ++chain_;
  absl::StatusOr<Forms> forms = ExpandNow(literals);
  --chain_;
  expanding_[id] = false;
  if (!forms.ok()) return forms.status();
  forms_[id] = *std::move(forms);
  return &*forms_[id];
}

// Limits first: every choice then multiplies what is left.
absl::StatusOr<std::vector<Form>> SchemaForms::ExpandNow(const Literals& literals) {
  Forms forms = AllForms();
  for (const auto& [sort, index] : literals) {
    if (sort == Sort::kValue) {
      CHIMERA_ASSIGN_OR_RETURN(forms, And(forms, FormsOfValue(*values_[index])));
    } else if (sort == Sort::kHolds) {
      at_ = index;
      CHIMERA_ASSIGN_OR_RETURN(const Forms simple, Simple(index));
      CHIMERA_ASSIGN_OR_RETURN(forms, And(forms, simple));
    }
  }
  for (const auto& [sort, index] : literals) {
    if (sort == Sort::kHolds) {
      CHIMERA_RETURN_IF_ERROR(Choices(index, &forms));
    } else if (sort == Sort::kFails) {
      CHIMERA_ASSIGN_OR_RETURN(const Forms negation, Negation(index));
      CHIMERA_ASSIGN_OR_RETURN(forms, And(forms, negation));
    }
  }
  return forms;
}

std::vector<Form> SchemaForms::FormsOfValue(const JsonTree& value) {
  Form form;
  switch (value.kind) {
    case JsonTree::Kind::kNull:
      break;
    case JsonTree::Kind::kBoolean:
      form.type = JsonType::kBoolean;
      form.booleans = value.flag ? 2 : 1;
      break;
    case JsonTree::Kind::kNumber: {
      form.type = JsonType::kNumber;
      auto number = Decimal::Parse(value.text);
      if (!number.ok()) {
        form.refused = std::string(ToStd(number.status().message()));
      } else {
        form.number = NumberSet::Only(*std::move(number));
      }
      break;
    }
    case JsonTree::Kind::kString:
      form.type = JsonType::kString;
      form.string.one_of =
          std::make_shared<const std::vector<std::string>>(std::vector<std::string>{value.text});
      break;
    case JsonTree::Kind::kArray:
      form.type = JsonType::kArray;
      form.array.min = form.array.max = static_cast<uint32_t>(value.items.size());
      for (const JsonTree& item : value.items) form.array.first.push_back(OfValue(item));
      break;
    case JsonTree::Kind::kObject:
      form.type = JsonType::kObject;
      form.object.rests.clear();
      for (const auto& [name, member] : value.members) {
        form.object.properties.push_back({name, OfValue(member), true});
      }
      break;
  }
  return {form};
}

}  // namespace chimera
