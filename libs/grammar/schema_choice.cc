// Choices: anyOf, oneOf, if and what depends on the presence of properties.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/schema_forms.h"

namespace chimera {
namespace {

using Kind = JsonTree::Kind;

constexpr int kEmptyDepth = 8;  // levels of values that are searched for a contradiction
constexpr size_t kOneOfMax = 256;

}  // namespace

absl::StatusOr<std::vector<Form>> SchemaForms::ExpandLiterals(Literals literals) {
  CHIMERA_ASSIGN_OR_RETURN(const FormId id, InternFlat(literals));
  CHIMERA_ASSIGN_OR_RETURN(const Forms* forms, Expand(id));
  return *forms;
}

absl::Status SchemaForms::Choices(SchemaNode node, Forms* forms) {
  const JsonTree& tree = source_->Tree(node);
  at_ = node;
  for (const auto& [key, choose] :
       {std::pair{"anyOf", &SchemaForms::AnyOf}, std::pair{"oneOf", &SchemaForms::OneOf}}) {
    const JsonTree* list = tree.Find(key);
    if (list == nullptr) continue;
    if (!list->Is(Kind::kArray) || list->items.empty()) {
      return source_->Refuse(node, key, "is not an array of schemas");
    }
    CHIMERA_ASSIGN_OR_RETURN(const Forms chosen, (this->*choose)(node, *list));
    CHIMERA_ASSIGN_OR_RETURN(*forms, And(*forms, chosen));
  }
  if (tree.Find("if") != nullptr) {
    CHIMERA_ASSIGN_OR_RETURN(const Forms chosen, IfThenElse(node));
    CHIMERA_ASSIGN_OR_RETURN(*forms, And(*forms, chosen));
  }
  return Dependencies(node, forms);
}

absl::StatusOr<std::vector<Form>> SchemaForms::AnyOf(SchemaNode node, const JsonTree& list) {
  Forms all;
  for (size_t i = 0; i < list.items.size(); ++i) {
    const SchemaNode part = source_->Below(node, list.items[i], absl::StrCat("/anyOf/", i));
    CHIMERA_ASSIGN_OR_RETURN(const Forms forms, ExpandLiterals({{Sort::kHolds, part}}));
    CHIMERA_RETURN_IF_ERROR(Spend(static_cast<int64_t>(forms.size())));
    all.insert(all.end(), forms.begin(), forms.end());
  }
  DropCovered(&all);
  return all;
}

// Where no value can fit two alternatives, one of them is any of them. Of two that may overlap,
// each is left where the other fails.
absl::StatusOr<std::vector<Form>> SchemaForms::OneOf(SchemaNode node, const JsonTree& list) {
  const size_t n = list.items.size();
  if (n > kOneOfMax) {
    return source_->Limit(node, "oneOf", absl::StrCat("has more than ", kOneOfMax, " schemas"));
  }
  std::vector<SchemaNode> parts;
  std::vector<Forms> forms;
  for (size_t i = 0; i < n; ++i) {
    parts.push_back(source_->Below(node, list.items[i], absl::StrCat("/oneOf/", i)));
    CHIMERA_ASSIGN_OR_RETURN(Forms own, ExpandLiterals({{Sort::kHolds, parts.back()}}));
    forms.push_back(std::move(own));
  }
  std::vector<std::vector<size_t>> overlaps(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i + 1; j < n; ++j) {
      at_ = node;
      CHIMERA_ASSIGN_OR_RETURN(const Forms both, And(forms[i], forms[j]));
      const bool disjoint = std::all_of(both.begin(), both.end(),
                                        [&](const Form& f) { return Empty(f, kEmptyDepth); });
      if (disjoint) continue;
      overlaps[i].push_back(j);
      overlaps[j].push_back(i);
    }
  }
  Forms all;
  for (size_t i = 0; i < n; ++i) {
    if (!overlaps[i].empty()) {
      CHIMERA_ASSIGN_OR_RETURN(forms[i], Alone(node, parts, i, overlaps[i]));
    }
    all.insert(all.end(), forms[i].begin(), forms[i].end());
  }
  DropCovered(&all);
  return all;
}

absl::StatusOr<std::vector<Form>> SchemaForms::Alone(SchemaNode node,
                                                     const std::vector<SchemaNode>& parts, size_t i,
                                                     const std::vector<size_t>& others) {
  Literals literals = {{Sort::kHolds, parts[i]}};
  for (const size_t j : others) literals.push_back({Sort::kFails, parts[j]});
  auto alone = ExpandLiterals(std::move(literals));
  const std::string both =
      absl::StrCat("schemas ", i, " and ", others[0], " may both hold, which is not supported: ");
  if (!alone.ok()) {
    return source_->At(
        node, "oneOf",
        absl::Status(alone.status().code(), absl::StrCat(both, alone.status().message())));
  }
  for (Form& form : *alone) {
    if (!form.refused.empty() && form.refused.find("may both hold") == std::string::npos) {
      form.refused = absl::StrCat(source_->Pointer(node), "/oneOf: ", both, form.refused);
    }
  }
  return alone;
}

absl::StatusOr<std::vector<Form>> SchemaForms::IfThenElse(SchemaNode node) {
  const JsonTree& tree = source_->Tree(node);
  const SchemaNode test = source_->Below(node, *tree.Find("if"), "/if");
  Forms all;
  for (const auto& [key, sort] :
       {std::pair{"then", Sort::kHolds}, std::pair{"else", Sort::kFails}}) {
    Literals literals = {{sort, test}};
    if (const JsonTree* part = tree.Find(key)) {
      literals.push_back({Sort::kHolds, source_->Below(node, *part, absl::StrCat("/", key))});
    }
    CHIMERA_ASSIGN_OR_RETURN(const Forms forms, ExpandLiterals(std::move(literals)));
    all.insert(all.end(), forms.begin(), forms.end());
  }
  DropCovered(&all);
  return all;
}

absl::Status SchemaForms::Dependencies(SchemaNode node, Forms* forms) {
  for (const char* keyword : {"dependencies", "dependentRequired", "dependentSchemas"}) {
    const JsonTree* list = source_->Tree(node).Find(keyword);
    if (list == nullptr) continue;
    if (!list->Is(Kind::kObject)) return source_->Refuse(node, keyword, "is not an object");
    for (const auto& [name, needs] : list->members) {
      CHIMERA_ASSIGN_OR_RETURN(const Forms chosen, Dependency(node, keyword, name, needs));
      CHIMERA_ASSIGN_OR_RETURN(*forms, And(*forms, chosen));
    }
  }
  return absl::OkStatus();
}

// Without the property, or with what it needs.
absl::StatusOr<std::vector<Form>> SchemaForms::Dependency(SchemaNode node, const char* keyword,
                                                          const std::string& name,
                                                          const JsonTree& needs) {
  Form without = FormOf(JsonType::kObject);
  without.object.properties.push_back({name, kNothing, false});
  Form with = FormOf(JsonType::kObject);
  with.object.properties.push_back({name, kAnything, true});
  Forms needed = AllForms();
  if (needs.Is(Kind::kArray) || needs.Is(Kind::kString)) {
    Form all = FormOf(JsonType::kObject);
    std::vector<std::string> names = {needs.text};
    if (needs.Is(Kind::kArray)) {
      names.clear();
      for (const JsonTree& item : needs.items) names.push_back(item.text);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (std::string& one : names)
      all.object.properties.push_back({std::move(one), kAnything, true});
    needed = {std::move(all)};
  } else {
    const SchemaNode part =
        source_->Below(node, needs, absl::StrCat("/", keyword, PointerToken(name)));
    CHIMERA_ASSIGN_OR_RETURN(needed, ExpandLiterals({{Sort::kHolds, part}}));
  }
  CHIMERA_ASSIGN_OR_RETURN(Forms all, And({with}, needed));
  all.push_back(std::move(without));
  for (Form& form : AllForms()) {
    if (form.type != JsonType::kObject) all.push_back(std::move(form));
  }
  return all;
}

}  // namespace chimera
