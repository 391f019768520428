#include "cluster/model_frontend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/model.h"

namespace chimera {
namespace {

constexpr size_t kHeldMax = 4;  // a publish or two may overlap

// The tokenizer reads files; the bytes came over the wire and need none on disk.
absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerFromBytes(const std::string& bytes) {
  const int fd = ::memfd_create("tokenizer.model", MFD_CLOEXEC);
  if (fd < 0) {
    return absl::InternalError(absl::StrCat("memfd_create: ", std::strerror(errno)));
  }
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (n <= 0 && errno != EINTR) break;
    if (n > 0) at += static_cast<size_t>(n);
  }
  absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer =
      at == bytes.size() ? Tokenizer::FromFile(absl::StrCat("/proc/self/fd/", fd))
                         : absl::ResourceExhaustedError("no memory for the tokenizer");
  ::close(fd);
  return tokenizer;
}

absl::StatusOr<std::shared_ptr<const ModelFrontend>> Build(const std::string& model_id,
                                                           const std::vector<ModelFile>& files) {
  auto frontend = std::make_shared<ModelFrontend>();
  frontend->model_id = model_id;
  for (const ModelFile& file : files) {
    if (file.name == kConfigFile) {
      CHIMERA_ASSIGN_OR_RETURN(frontend->config, ParseConfig(file.bytes));
    } else if (file.name == kTokenizerFile) {
      CHIMERA_ASSIGN_OR_RETURN(frontend->tokenizer, TokenizerFromBytes(file.bytes));
    }
  }
  if (frontend->tokenizer == nullptr || frontend->config.text.empty()) {
    return absl::DataLossError(
        absl::StrCat("model ", model_id, " came without ", kConfigFile, " or ", kTokenizerFile));
  }
  if (frontend->tokenizer->vocab_size() != frontend->config.model.vocab_size) {
    return absl::DataLossError(
        absl::StrCat("model ", model_id, ": tokenizer of ", frontend->tokenizer->vocab_size(),
                     " tokens, vocab_size ", frontend->config.model.vocab_size));
  }
  const GrammarConfig& grammar = frontend->config.grammar;
  frontend->grammars = std::make_shared<GrammarCache>(
      frontend->tokenizer,
      GrammarCacheOptions{int64_t{grammar.storage_mb} << 20, {grammar.mask_cache, !grammar.jit}});
  frontend->classes = std::make_shared<const ClassTable>(MakeClassTable(*frontend->tokenizer));
  return frontend;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ModelFrontend>> FrontendCache::Get(
    const std::string& model_id) {
  std::string id = model_id;
  if (id.empty()) {
    CHIMERA_ASSIGN_OR_RETURN(const KnotModelInfo info, knot_->CurrentModel());
    id = info.model_id;
  }
  {
    MutexLock lock(&mutex_);
    for (const auto& frontend : held_) {
      if (frontend->model_id == id) return frontend;
    }
  }
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<ModelFile> files, knot_->FetchModel(id));
  CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFrontend> frontend, Build(id, files));
  MutexLock lock(&mutex_);
  if (held_.size() == kHeldMax) held_.erase(held_.begin());
  held_.push_back(frontend);
  return frontend;
}

}  // namespace chimera
