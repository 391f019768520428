// Brings schemas into forms (schema_form.h): references are followed, conjunctions merged, choices
// multiplied out. All of it is lazy, a subschema is looked at when its value is, so recursion is no
// problem where there is a value between; and it is counted, so that hostile schemas end early.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grammar/regex.h"
#include "grammar/schema_form.h"
#include "grammar/schema_source.h"

namespace chimera {

inline constexpr int64_t kSchemaStepsMax = 400000;   // forms and properties looked at
inline constexpr int64_t kSchemaStatesMax = 100000;  // of all automata of patterns together
inline constexpr int kSchemaChainMax = 300;  // references and choices without a value between
inline constexpr uint32_t kSchemaCountMax = 1 << 20;  // least lengths and sizes

// Thread-compatible.
class SchemaForms {
 public:
  explicit SchemaForms(SchemaSource* source);

  absl::StatusOr<FormId> Of(SchemaNode node);
  absl::StatusOr<FormId> Both(FormId a, FormId b);
  // Any of these; valid until the forms are destroyed.
  absl::StatusOr<const std::vector<Form>*> Expand(FormId id);
  // A pointer to what a form comes from, for messages.
  std::string Pointer(FormId id) const;
  // The automaton of a string form without its lengths, null: any text.
  absl::StatusOr<const ByteDfa*> TextOf(const StringForm& form);
  // The same with the lengths, and of what is one of some texts; never null.
  absl::StatusOr<const ByteDfa*> WholeTextOf(const StringForm& form);
  const ByteDfa* Keep(ByteDfa dfa);
  absl::Status Spend(int64_t steps);

 private:
  using Forms = std::vector<Form>;
  // A schema that holds or does not, or one exact value.
  enum class Sort : uint8_t { kHolds, kFails, kValue, kNever };
  struct Literal {
    Sort sort = Sort::kHolds;
    uint32_t index = 0;
    auto operator<=>(const Literal&) const = default;
  };
  using Literals = std::vector<Literal>;

  // schema_forms.cc
  FormId Intern(Literals literals);
  absl::StatusOr<FormId> InternFlat(const Literals& literals);
  absl::Status Flatten(Literal literal, Literals* into, std::vector<SchemaNode>* path);
  absl::Status FlattenHolds(SchemaNode node, Literals* into, std::vector<SchemaNode>* path);
  absl::Status FlattenFails(SchemaNode node, Literals* into, std::vector<SchemaNode>* path);
  absl::StatusOr<Forms> ExpandNow(const Literals& literals);
  FormId OfValue(const JsonTree& value);
  Forms FormsOfValue(const JsonTree& value);

  // schema_keywords.cc: what one node asks for, choices aside.
  absl::StatusOr<Forms> Simple(SchemaNode node);
  absl::StatusOr<Forms> Types(SchemaNode node);
  absl::StatusOr<Forms> Values(SchemaNode node, const JsonTree& values);
  absl::Status Numbers(SchemaNode node, NumberSet* out);
  absl::Status Strings(SchemaNode node, StringForm* out);
  absl::Status Arrays(SchemaNode node, Form* out);
  absl::Status Objects(SchemaNode node, Form* out);
  absl::Status AddProperties(SchemaNode node, ObjectForm* object);
  absl::Status AddPatterns(SchemaNode node, ObjectForm* object);
  absl::Status LimitNames(SchemaNode node, ObjectForm* object);
  absl::Status Require(SchemaNode node, const JsonTree& names, ObjectForm* object);
  absl::Status Count(SchemaNode node, const char* keyword, uint32_t* out);
  absl::StatusOr<std::optional<Decimal>> Bound(SchemaNode node, const char* keyword);
  absl::StatusOr<const ByteDfa*> Pattern(std::string_view pattern);
  absl::StatusOr<FormId> Sub(SchemaNode node, const JsonTree& tree, std::string_view suffix);

  // schema_merge.cc
  absl::StatusOr<Forms> And(const Forms& a, const Forms& b);
  absl::StatusOr<Form> AndForm(const Form& a, const Form& b);
  absl::Status AndArrays(const ArrayForm& b, ArrayForm* a);
  absl::Status AndObjects(const ObjectForm& b, ObjectForm* a);
  absl::StatusOr<const ByteDfa*> AndText(const ByteDfa* a, const ByteDfa* b);
  absl::StatusOr<const ByteDfa*> MinusText(const ByteDfa* a, const ByteDfa* b);
  absl::StatusOr<const ByteDfa*> Checked(absl::StatusOr<ByteDfa> dfa);
  // No value at all fits; false when that is not certain.
  bool Empty(const Form& form, int depth);
  bool Empty(FormId id, int depth);
  bool EmptyText(const StringForm& form);

  // schema_choice.cc
  absl::Status Choices(SchemaNode node, Forms* forms);
  absl::StatusOr<Forms> AnyOf(SchemaNode node, const JsonTree& list);
  absl::StatusOr<Forms> OneOf(SchemaNode node, const JsonTree& list);
  absl::StatusOr<Forms> Alone(SchemaNode node, const std::vector<SchemaNode>& parts, size_t i,
                              const std::vector<size_t>& others);
  absl::StatusOr<Forms> IfThenElse(SchemaNode node);
  absl::Status Dependencies(SchemaNode node, Forms* forms);
  absl::StatusOr<Forms> Dependency(SchemaNode node, const char* keyword, const std::string& name,
                                   const JsonTree& needs);
  absl::StatusOr<Forms> ExpandLiterals(Literals literals);

  // schema_negate.cc
  absl::StatusOr<Forms> Negation(SchemaNode node);
  absl::Status NegateValues(const Forms& values, Forms* out);
  absl::Status Cut(const Form& value, Form form, Forms* out);
  absl::Status NegateNumbers(SchemaNode node, Forms* out);
  absl::Status NegateStrings(SchemaNode node, Forms* out);
  absl::Status NegateCounts(SchemaNode node, Forms* out);
  absl::Status NegateObjects(SchemaNode node, Forms* out);
  absl::Status NegateArrays(SchemaNode node, Forms* out);
  absl::Status NegateChoices(SchemaNode node, Forms* out);
  absl::Status AddFailing(SchemaNode node, const JsonTree& tree, std::string_view suffix,
                          Forms* out);

  SchemaSource* source_;
  std::map<Literals, FormId> ids_;
  std::deque<Literals> sets_;
  std::deque<std::optional<Forms>> forms_;
  std::vector<bool> expanding_;
  std::unordered_map<FormId, bool> empty_;
  std::vector<const JsonTree*> values_;
  std::unordered_map<std::string, const ByteDfa*> patterns_;
  std::map<std::pair<const ByteDfa*, const ByteDfa*>, const ByteDfa*> both_;
  std::deque<ByteDfa> kept_;
  SchemaNode at_ = 0;  // for messages of limits
  int64_t steps_ = 0, states_ = 0;
  int64_t regex_steps_left_ = kRegexStepsMax;  // of all patterns together
  int chain_ = 0;
};

// Every form of a type, without limits; and what unions of forms can do without.
std::vector<Form> AllForms();
Form FormOf(JsonType type);
void DropCovered(std::vector<Form>* forms);
// Whether a keyword limits anything, as far as this compiler knows.
bool IsSchemaKeyword(std::string_view keyword);
uint32_t CharactersOf(std::string_view text);
// The value of a name that no property has.
FormId RestAt(const ObjectForm& object, std::string_view name);
// Exactly these; sorted.
absl::StatusOr<ByteDfa> TextsDfa(const std::vector<std::string>& texts);

}  // namespace chimera
