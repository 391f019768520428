// Forms of a schema (schema_form.h) as rules.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grammar/json_rules.h"
#include "grammar/schema_forms.h"

namespace chimera {

// One rule for each set of schemas, string or number that differs. Borrows both. Thread-compatible.
class SchemaRules {
 public:
  SchemaRules(SchemaForms* forms, JsonRules* json)
      : forms_(forms), json_(json), b_(json->builder()) {}

  // The rule of a schema's values, with all rules that it needs.
  absl::StatusOr<uint32_t> Add(FormId root);

 private:
  // A name and the place behind the string; sorted by name.
  using Names = std::vector<std::pair<std::string_view, uint32_t>>;

  // schema_rules.cc
  uint32_t Value(FormId id);
  absl::Status AddValue(FormId id, uint32_t rule);
  absl::Status AddForm(const Form& form, uint32_t rule);
  absl::StatusOr<uint32_t> Number(const NumberSet& set);
  absl::StatusOr<uint32_t> String(const StringForm& form);
  absl::Status LongText(const ByteDfa& text, const StringForm& form, uint32_t rule);
  // A choice of texts from a place on; generating, their spelling with the quotes.
  void Texts(uint32_t from, const Names& names);
  // A string from behind its quote on: a name, or else a text of the automaton (null: none).
  void TextsOrElse(uint32_t content, const Names& names, const ByteDfa* dfa, uint32_t else_to);

  // schema_array_rules.cc
  absl::Status AddArray(const ArrayForm& array, uint32_t rule);

  // schema_object_rules.cc
  absl::Status AddObject(const ObjectForm& object, uint32_t rule);
  absl::Status AddOrdered(const ObjectForm& object, uint32_t rule);
  void AddMembers(const ObjectForm& object, const std::vector<uint32_t>& next,
                  const std::vector<uint32_t>& behind, size_t width);
  // Properties [first, last) from a place on, through the tree of their names.
  void NameTree(const ObjectForm& object, size_t first, size_t last, uint32_t from,
                const std::function<uint32_t(size_t)>& to);
  absl::Status AddAnyOrder(const ObjectForm& object, uint32_t rule);
  absl::StatusOr<uint32_t> Member(const ObjectForm& object);
  uint32_t Named(const ObjectForm::Property& property);
  uint32_t Others(const ObjectForm& object);
  // From behind a key: white space, the colon and the value.
  void ColonValue(uint32_t from, FormId value, uint32_t to);

  SchemaForms* forms_;
  JsonRules* json_;
  RuleBuilder* b_;
  std::map<FormId, uint32_t> values_;
  std::map<std::pair<std::string, FormId>, uint32_t> named_;
  std::vector<FormId> waiting_;
  std::map<NumberSet, uint32_t> numbers_;
  std::map<std::pair<const ByteDfa*, std::pair<uint32_t, uint32_t>>, uint32_t> strings_;
};

}  // namespace chimera
