// Writes docs/config.md from the coverage registry: config_doc REPOSITORY_ROOT
#include <cstdio>
#include <string>

#include "base/file.h"
#include "base/string_view.h"
#include "config/registry.h"

namespace chimera {
namespace {

absl::Status WritePage(const std::string& root) {
  absl::StatusOr<Config> config = LoadConfig(root + "/configs/chimera-5.3.json");
  if (!config.ok()) return config.status();
  absl::StatusOr<Config> other = LoadConfig(root + "/configs/chimera-5.1.json");
  if (!other.ok()) return other.status();
  absl::StatusOr<std::string> page = CoverageMarkdown(*config, *other);
  if (!page.ok()) return page.status();
  return WriteFileAtomic(root + "/docs/config.md", *page);
}

}  // namespace
}  // namespace chimera

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: config_doc REPOSITORY_ROOT\n");
    return 2;
  }
  const absl::Status status = chimera::WritePage(argv[1]);
  if (!status.ok()) {
    std::fprintf(stderr, "config_doc: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
