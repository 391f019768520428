#include "grammar/schema_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/string_view.h"

namespace chimera {
namespace {

// The identifier that a relative one means; both without fragments. Dots in paths stay.
std::string Absolute(std::string_view base, std::string_view name) {
  const size_t colon = name.find(':');
  if (colon != std::string_view::npos && colon < name.find('/')) return std::string(name);
  if (name.empty()) return std::string(base);
  const size_t scheme = base.find("://");
  const size_t path = scheme == std::string_view::npos ? 0 : base.find('/', scheme + 3);
  if (name[0] == '/') {
    return std::string(base.substr(0, path)) + std::string(name);
  }
  const size_t slash = base.rfind('/');
  if (slash == std::string_view::npos || (scheme != std::string_view::npos && slash < scheme + 3)) {
    return std::string(name);
  }
  return std::string(base.substr(0, slash + 1)) + std::string(name);
}

constexpr size_t kIdBytesMax = 2048;  // a longer one names nothing

const std::string* IdOf(const JsonTree& tree) {
  for (const char* key : {"$id", "id"}) {
    const JsonTree* id = tree.Find(key);
    if (id != nullptr && id->Is(JsonTree::Kind::kString) && id->text.size() <= kIdBytesMax)
      return &id->text;
  }
  return nullptr;
}

std::pair<std::string_view, std::string_view> SplitFragment(std::string_view text) {
  const size_t hash = text.find('#');
  if (hash == std::string_view::npos) return {text, {}};
  return {text.substr(0, hash), text.substr(hash + 1)};
}

std::string PercentDecoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87 : -1;
  };
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

std::string TokenText(std::string_view token) {
  std::string text;
  for (size_t i = 0; i < token.size(); ++i) {
    const bool escaped = token[i] == '~' && i + 1 < token.size();
    text += !escaped ? token[i] : token[i + 1] == '1' ? '/' : '~';
    i += escaped;
  }
  return text;
}

}  // namespace

SchemaSource::SchemaSource(const JsonTree* root) {
  Add(root, 0, "");
  FindNames(*root, "");
}

// Identifiers and anchors of all subschemas. Values that merely look like one do no harm: nothing
// refers to them.
void SchemaSource::FindNames(const JsonTree& tree, const std::string& base) {
  std::string own;
  const std::string* here = &base;
  if (const std::string* id = IdOf(tree)) {
    const auto [name, fragment] = SplitFragment(*id);
    if (!name.empty()) {
      own = Absolute(base, name);
      here = &own;
    }
    named_.insert({fragment.empty() ? *here : absl::StrCat(*here, "#", ToAbsl(fragment)), &tree});
  }
  for (const char* key : {"$anchor", "$dynamicAnchor"}) {
    const JsonTree* anchor = tree.Find(key);
    if (anchor != nullptr && anchor->Is(JsonTree::Kind::kString)) {
      named_.insert({absl::StrCat(*here, "#", anchor->text), &tree});
    }
  }
  for (const auto& [key, value] : tree.members) {
    if (key == "enum" || key == "const" || key == "default" || key == "examples") continue;
    FindNames(value, *here);
  }
  for (const JsonTree& item : tree.items) FindNames(item, *here);
}

SchemaNode SchemaSource::Add(const JsonTree* tree, SchemaNode parent, std::string_view suffix) {
  const auto [it, fresh] = numbers_.insert({tree, static_cast<SchemaNode>(nodes_.size())});
  if (fresh) nodes_.push_back({tree, parent, std::string(suffix), IdOf(*tree)});
  return it->second;
}

SchemaNode SchemaSource::Below(SchemaNode parent, const JsonTree& tree, std::string_view suffix) {
  return Add(&tree, parent, suffix);
}

std::string SchemaSource::BaseOf(SchemaNode node) const {
  std::vector<SchemaNode> path = {node};
  while (path.back() != 0) path.push_back(nodes_[path.back()].parent);
  std::string base;
  for (auto at = path.rbegin(); at != path.rend(); ++at) {
    const std::string* id = nodes_[*at].id;
    if (id == nullptr) continue;
    const auto [name, fragment] = SplitFragment(*id);
    if (!name.empty()) base = Absolute(base, name);
  }
  return base;
}

const JsonTree* SchemaSource::Follow(const JsonTree* from, std::string_view pointer) const {
  while (from != nullptr && !pointer.empty()) {
    if (pointer[0] != '/') return nullptr;
    const size_t end = std::min(pointer.find('/', 1), pointer.size());
    const std::string token = TokenText(pointer.substr(1, end - 1));
    pointer.remove_prefix(end);
    if (from->Is(JsonTree::Kind::kArray)) {
      size_t index = 0;
      if (token.empty() || token.size() > 7) return nullptr;
      for (const char c : token) {
        if (c < '0' || c > '9') return nullptr;
        index = index * 10 + size_t(c - '0');
      }
      from = index < from->items.size() ? &from->items[index] : nullptr;
    } else {
      from = from->Find(token);
    }
  }
  return from;
}

absl::StatusOr<SchemaNode> SchemaSource::Resolve(SchemaNode node, std::string_view reference) {
  const auto [name, raw] = SplitFragment(reference);
  const std::string fragment = PercentDecoded(raw);
  const std::string target = Absolute(BaseOf(node), name);
  const JsonTree* found = nullptr;
  if (!fragment.empty() && fragment[0] != '/') {
    const auto at = named_.find(absl::StrCat(target, "#", fragment));
    if (at != named_.end()) found = at->second;
  } else {
    const auto at = named_.find(target);
    if (at != named_.end()) found = Follow(at->second, fragment);
  }
  // Many schemas give parts an identifier and still refer from the root.
  if (found == nullptr && name.empty() && (fragment.empty() || fragment[0] == '/')) {
    found = Follow(nodes_[0].tree, fragment);
  }
  if (found == nullptr) {
    return Refuse(
        node, "$ref",
        absl::StrCat("nothing in this document is at \"", ToAbsl(reference.substr(0, 200)), "\""));
  }
  return Add(found, 0, fragment.empty() || fragment[0] == '/' ? fragment : "/" + fragment);
}

std::string SchemaSource::Pointer(SchemaNode node) const {
  std::string pointer;
  for (; node != 0; node = nodes_[node].parent) pointer = nodes_[node].suffix + pointer;
  return "#" + pointer;
}

absl::Status SchemaSource::Refuse(SchemaNode node, std::string_view keyword,
                                  std::string_view why) const {
  return At(node, keyword, absl::InvalidArgumentError(ToAbsl(why)));
}

absl::Status SchemaSource::Limit(SchemaNode node, std::string_view keyword,
                                 std::string_view why) const {
  return At(node, keyword, absl::ResourceExhaustedError(ToAbsl(why)));
}

absl::Status SchemaSource::At(SchemaNode node, std::string_view keyword,
                              const absl::Status& status) const {
  std::string pointer = Pointer(node);
  if (!keyword.empty()) pointer += "/" + std::string(keyword);
  if (pointer.size() > 400) pointer = pointer.substr(0, 400) + "...";
  return absl::Status(status.code(), absl::StrCat(pointer, ": ", status.message()));
}

}  // namespace chimera
