// The document of a schema: its subschemas as numbered nodes, and where references lead.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "grammar/json_tree.h"

namespace chimera {

using SchemaNode = uint32_t;

// Borrows the document. Thread-compatible.
class SchemaSource {
 public:
  explicit SchemaSource(const JsonTree* root);

  SchemaNode root() const { return 0; }
  const JsonTree& Tree(SchemaNode node) const { return *nodes_[node].tree; }
  // The subschema below a keyword of a node: suffix is "/items" or "/properties/a".
  SchemaNode Below(SchemaNode parent, const JsonTree& tree, std::string_view suffix);
  // INVALID_ARGUMENT when it leads out of the document, or nowhere.
  absl::StatusOr<SchemaNode> Resolve(SchemaNode node, std::string_view reference);

  std::string Pointer(SchemaNode node) const;
  // "#/a/b/keyword: why".
  absl::Status Refuse(SchemaNode node, std::string_view keyword, std::string_view why) const;
  absl::Status Limit(SchemaNode node, std::string_view keyword, std::string_view why) const;
  // The same code, with the pointer before the message.
  absl::Status At(SchemaNode node, std::string_view keyword, const absl::Status& status) const;

 private:
  struct Node {
    const JsonTree* tree = nullptr;
    SchemaNode parent = 0;
    std::string suffix;
    const std::string* id = nullptr;
  };
  SchemaNode Add(const JsonTree* tree, SchemaNode parent, std::string_view suffix);
  void FindNames(const JsonTree& tree, const std::string& base);
  const JsonTree* Follow(const JsonTree* from, std::string_view pointer) const;
  std::string BaseOf(SchemaNode node) const;

  std::vector<Node> nodes_;
  std::unordered_map<const JsonTree*, SchemaNode> numbers_;
  std::map<std::string, const JsonTree*> named_;  // by absolute identifier, anchors behind '#'
};

}  // namespace chimera
