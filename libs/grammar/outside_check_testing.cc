#include "grammar/outside_check_testing.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/file.h"
#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {

std::vector<std::string> OutsideCheck(const std::string& command,
                                      const std::vector<nlohmann::json>& cases) {
  const std::string path =
      testing::TempDir() + "outside_check_" + std::to_string(::getpid()) + ".jsonl";
  {
    std::ofstream file(path, std::ios::binary);
    for (const nlohmann::json& one : cases) file << one.dump() << '\n';
  }
  std::vector<std::string> lines(1);
  FILE* const child = ::popen((command + " '" + path + "' 2>/dev/null").c_str(), "r");
  std::array<char, 4096> buffer;
  while (child != nullptr) {
    const size_t n = std::fread(buffer.data(), 1, buffer.size(), child);
    if (n == 0) break;
    for (size_t i = 0; i < n; ++i) {
      if (buffer[i] == '\n') {
        lines.emplace_back();
      } else {
        lines.back().push_back(buffer[i]);
      }
    }
  }
  if (child != nullptr) ::pclose(child);
  ::unlink(path.c_str());
  lines.pop_back();
  return lines;
}

bool HasProgram(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}

std::string Setting(const std::string& name, const std::string& otherwise) {
  const std::vector<std::string> lines = OutputLines("echo \"${" + name + ":-}\"");
  return lines.empty() || lines[0].empty() ? otherwise : lines[0];
}

std::vector<std::string> OutputLines(const std::string& command) {
  FILE* const child = ::popen(command.c_str(), "r");
  if (child == nullptr) return {};
  std::string text;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), child)) > 0;) {
    text.append(buffer.data(), n);
  }
  EXPECT_EQ(::pclose(child), 0) << command;
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

std::string FileText(const std::string& path) {
  constexpr size_t kFileBytesMax = size_t{1} << 30;
  return ReadFile(path, kFileBytesMax).value_or("");
}

std::vector<std::string> SampleFiles(const std::vector<std::string>& folders,
                                     const std::vector<std::string>& extensions, size_t max) {
  std::vector<std::string> files;
  for (const std::string& folder : folders) {
    std::error_code none;
    for (std::filesystem::recursive_directory_iterator it(folder, none), end; it != end;
         it.increment(none)) {
      if (none || !it->is_regular_file(none)) continue;
      const std::string extension = it->path().extension().string();
      if (std::ranges::find(extensions, extension) == extensions.end()) continue;
      if (it->file_size(none) < 200'000) files.push_back(it->path().string());
    }
  }
  std::sort(files.begin(), files.end());
  if (files.size() > max) {
    for (size_t i = 0; i < max; ++i) files[i] = files[i * files.size() / max];
    files.resize(max);
  }
  return files;
}

std::vector<std::string> CheckBatch(const std::string& command,
                                    const std::vector<std::string>& texts) {
  const std::string path = testing::TempDir() + "batch_check_" + std::to_string(::getpid());
  {
    std::ofstream file(path, std::ios::binary);
    for (const std::string& text : texts) file << text.size() << '\n' << text;
  }
  std::vector<std::string> lines = OutputLines(command + " '" + path + "'");
  ::unlink(path.c_str());
  EXPECT_EQ(lines.size(), texts.size());
  lines.resize(texts.size());
  return lines;
}

std::string RandomPieces(StateTable* table, std::span<const std::string_view> pieces, uint64_t seed,
                         int tries, uint32_t byte_every) {
  std::string text;
  GrammarState state = table->start();
  for (int i = 0; i < tries; ++i) {
    const PhiloxBlock draw = Philox4x32({static_cast<uint32_t>(i), 1, 0, 0}, uint32_t(seed),
                                        static_cast<uint32_t>(seed >> 32));
    std::string piece(pieces[draw[0] % pieces.size()]);
    if (byte_every > 0 && draw[1] % byte_every == 0) piece = static_cast<char>(' ' + draw[2] % 95);
    const GrammarState next = table->Run(state, piece);
    if (next == kDeadState) continue;
    text += piece;
    state = next;
  }
  return text + table->ClosingText(state);
}

std::string Mutated(std::string text, std::string_view bytes, uint64_t seed) {
  const PhiloxBlock draw = Philox4x32({0, 2, 0, 0}, uint32_t(seed), uint32_t(seed >> 32));
  const size_t at = draw[0] % (text.size() + 1);
  if (draw[1] % 2 == 0 && at < text.size()) return text.erase(at, 1);
  return text.insert(at, 1, bytes[draw[2] % bytes.size()]);
}

}  // namespace chimera
