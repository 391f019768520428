// Asks a program outside ours what it thinks of texts: one child process for a batch of cases.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/state_table.h"
#include "nlohmann/json.hpp"

namespace chimera {

// Runs `command FILE`, where FILE has the cases, one JSON value a line; the lines it prints. Empty
// when the command cannot be run.
std::vector<std::string> OutsideCheck(const std::string& command,
                                      const std::vector<nlohmann::json>& cases);

// Whether a program is there to be started.
bool HasProgram(const std::string& name);

// A variable of the environment, for runs longer than a test; otherwise when it is not set.
std::string Setting(const std::string& name, const std::string& otherwise);

// What a command prints, by lines. The command has to succeed.
std::vector<std::string> OutputLines(const std::string& command);

// What `<command> <file>` says of each text, one line a text. The file holds, for each text, its
// length in decimal, a line feed, and its bytes.
std::vector<std::string> CheckBatch(const std::string& command,
                                    const std::vector<std::string>& texts);

// All of a file; empty when it cannot be read.
std::string FileText(const std::string& path);

// Files below 200,000 bytes with one of the extensions, at most so many, from all over the folders
// that are there; sorted.
std::vector<std::string> SampleFiles(const std::vector<std::string>& folders,
                                     const std::vector<std::string>& extensions, size_t max);

// A text of the language like RandomText's, of pieces instead of bytes: `tries` times one is drawn
// and appended where it may follow, then the closing text. One of `byte_every` draws is a printable
// byte instead; 0: none.
std::string RandomPieces(StateTable* table, std::span<const std::string_view> pieces, uint64_t seed,
                         int tries, uint32_t byte_every = 0);

// The text with one byte less, or one of `bytes` more.
std::string Mutated(std::string text, std::string_view bytes, uint64_t seed);

}  // namespace chimera
