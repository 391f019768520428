// What the keywords of one schema ask of objects.
#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/schema_forms.h"

namespace chimera {
namespace {

using Kind = JsonTree::Kind;
constexpr size_t kRestsMax = 64;

}  // namespace

absl::Status SchemaForms::Objects(SchemaNode node, Form* out) {
  const JsonTree& tree = source_->Tree(node);
  ObjectForm& object = out->object;
  CHIMERA_RETURN_IF_ERROR(Count(node, "minProperties", &object.min));
  CHIMERA_RETURN_IF_ERROR(Count(node, "maxProperties", &object.max));
  CHIMERA_RETURN_IF_ERROR(AddProperties(node, &object));
  if (const JsonTree* rest = tree.Find("additionalProperties")) {
    CHIMERA_ASSIGN_OR_RETURN(object.rests[0].value, Sub(node, *rest, "/additionalProperties"));
  }
  CHIMERA_RETURN_IF_ERROR(AddPatterns(node, &object));
  CHIMERA_RETURN_IF_ERROR(LimitNames(node, &object));
  std::erase_if(object.rests, [](const auto& rest) { return rest.value == kNothing; });
  if (const JsonTree* required = tree.Find("required")) {
    CHIMERA_RETURN_IF_ERROR(Require(node, *required, &object));
  }
  const JsonTree* unevaluated = tree.Find("unevaluatedProperties");
  if (unevaluated != nullptr && !(unevaluated->Is(Kind::kBoolean) && unevaluated->flag)) {
    out->refused = absl::StrCat(source_->Pointer(node), "/unevaluatedProperties: is not supported");
  }
  return absl::OkStatus();
}

absl::Status SchemaForms::AddProperties(SchemaNode node, ObjectForm* object) {
  const JsonTree* properties = source_->Tree(node).Find("properties");
  if (properties == nullptr) return absl::OkStatus();
  if (!properties->Is(Kind::kObject)) {
    return source_->Refuse(node, "properties", "is not an object");
  }
  for (const auto& [name, value] : properties->members) {
    CHIMERA_ASSIGN_OR_RETURN(const FormId id, Sub(node, value, "/properties" + PointerToken(name)));
    object->properties.push_back({name, id, false});
  }
  return absl::OkStatus();
}

// Names that no pattern matches are additional; those that one or more match have to fit all of
// their schemas, whether they are properties or not.
absl::Status SchemaForms::AddPatterns(SchemaNode node, ObjectForm* object) {
  const JsonTree* patterns = source_->Tree(node).Find("patternProperties");
  if (patterns == nullptr) return absl::OkStatus();
  if (!patterns->Is(Kind::kObject)) {
    return source_->Refuse(node, "patternProperties", "is not an object");
  }
  std::vector<ObjectForm::Rest> matched;
  std::vector<ObjectForm::Rest> free = std::move(object->rests);
  for (const auto& [pattern, tree] : patterns->members) {
    const std::string suffix = "patternProperties" + PointerToken(pattern);
    CHIMERA_ASSIGN_OR_RETURN(const FormId value, Sub(node, tree, "/" + suffix));
    const auto dfa = Pattern(pattern);
    if (!dfa.ok()) return source_->At(node, suffix, dfa.status());
    for (auto& property : object->properties) {
      if (*dfa != nullptr && !(*dfa)->Matches(property.name)) continue;
      CHIMERA_ASSIGN_OR_RETURN(property.value, Both(property.value, value));
    }
    std::vector<ObjectForm::Rest> split, left;
    for (const auto* list : {&matched, &free}) {
      for (const auto& rest : *list) {
        CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* in, AndText(rest.names, *dfa));
        CHIMERA_ASSIGN_OR_RETURN(const ByteDfa* out, MinusText(rest.names, *dfa));
        FormId both = value;
        if (list == &matched) {
          CHIMERA_ASSIGN_OR_RETURN(both, Both(rest.value, value));
        }
        if (in == nullptr || !in->empty()) split.push_back({in, both});
        if (!out->empty()) (list == &matched ? split : left).push_back({out, rest.value});
      }
    }
    matched = std::move(split);
    free = std::move(left);
    if (matched.size() > kRestsMax) {
      return source_->Limit(node, "patternProperties",
                            absl::StrCat("overlap in more than ", kRestsMax, " ways"));
    }
  }
  object->rests = std::move(free);
  object->rests.insert(object->rests.end(), matched.begin(), matched.end());
  return absl::OkStatus();
}

absl::Status SchemaForms::LimitNames(SchemaNode node, ObjectForm* object) {
  const JsonTree* tree = source_->Tree(node).Find("propertyNames");
  if (tree == nullptr) return absl::OkStatus();
  CHIMERA_ASSIGN_OR_RETURN(const FormId id, Sub(node, *tree, "/propertyNames"));
  CHIMERA_ASSIGN_OR_RETURN(const Forms* forms, Expand(id));
  ByteDfa names = ByteDfa::Nothing();
  for (const Form& form : *forms) {
    if (form.type != JsonType::kString) continue;
    if (form.unlimited()) return absl::OkStatus();
    if (!form.refused.empty()) return absl::InvalidArgumentError(form.refused);
    const auto text = WholeTextOf(form.string);
    if (!text.ok()) return source_->At(node, "propertyNames", text.status());
    auto either = ByteDfa::Or(names, **text);
    if (!either.ok()) return source_->At(node, "propertyNames", either.status());
    names = *std::move(either);
  }
  const ByteDfa* kept = Keep(std::move(names));
  for (auto& property : object->properties) {
    if (!kept->Matches(property.name)) property.value = kNothing;
  }
  for (auto& rest : object->rests) {
    CHIMERA_ASSIGN_OR_RETURN(rest.names, AndText(rest.names, kept));
  }
  std::erase_if(object->rests, [](const auto& rest) { return rest.names->empty(); });
  return absl::OkStatus();
}

absl::Status SchemaForms::Require(SchemaNode node, const JsonTree& names, ObjectForm* object) {
  if (!names.Is(Kind::kArray)) return source_->Refuse(node, "required", "is not an array");
  object->properties.reserve(object->properties.size() + names.items.size());
  std::unordered_map<std::string_view, size_t> known;
  for (size_t i = 0; i < object->properties.size(); ++i) known[object->properties[i].name] = i;
  for (const JsonTree& name : names.items) {
    if (!name.Is(Kind::kString)) return source_->Refuse(node, "required", "has what is no name");
    const auto [at, fresh] = known.insert({name.text, object->properties.size()});
    if (fresh) object->properties.push_back({name.text, RestAt(*object, name.text), true});
    object->properties[at->second].required = true;
  }
  return absl::OkStatus();
}

}  // namespace chimera
