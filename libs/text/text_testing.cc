#include "text/text_testing.h"

#include <string_view>

#include "base/check.h"
#include "base/file.h"

namespace chimera {
namespace {

constexpr size_t kRankTextMax = size_t{8} << 20;

// Each class of the pre-tokenizer several times over, and what its rules single out.
constexpr std::string_view kAlphabet[] = {"a",          "e",          "s",
                                          "t",          "re",         "ll",
                                          "ing",        "the",        "A",
                                          "B",          "S",          "LL",
                                          "Th",         "0",          "7",
                                          "42",         " ",          " ",
                                          " ",          "  ",         "\t",
                                          "\n",         "\n",         "\r",
                                          "\r\n",       "/",          "'",
                                          "'",          "'s",         "'LL",
                                          "'\u017F",    "\u017F",     ".",
                                          ",",          "!",          "(",
                                          "-",          "_",          "\"",
                                          "\u2019",     "\u2014",     "\u00E9",
                                          "\u00DF",     "\u03B1",     "\u03A9",
                                          "\u0416",     "\u0436",     "\u01C5",
                                          "\u0130",     "\u02B0",     "\u0640",
                                          "\u4E2D",     "\u6587",     "\u3042",
                                          "\uD55C",     "\u0E01",     "\u05D0",
                                          "\u0301",     "\u0300",     "\u093F",
                                          "\u20E3",     "\u0661",     "\u00B2",
                                          "\u2167",     "\u00A0",     "\u3000",
                                          "\u2028",     "\u0085",     "\uFEFF",
                                          "\u200B",     "\u200D",     "\U0001F468\u200D\U0001F469",
                                          "\U0001F600", "\uFE0F",     "\u0378",
                                          "\uE000",     "\U0010FFFF", std::string_view("\0", 1),
                                          "\x1F",       "\U0001D400", "\U00010400",
                                          "\U00010428", "\u212A"};
constexpr std::string_view kBroken[] = {"\x80",         "\xFF",         "\xC3",     "\xE4\xB8",
                                        "\xF0\x9F\x98", "\xED\xA0\x80", "\xC0\xAF", "\xF5"};

template <size_t n>
std::string_view Pick(const std::string_view (&from)[n], TestRandom* random) {
  return from[random->Below(n)];
}

}  // namespace

const std::string& TruncatedRankText() {
  static const std::string* const text = [] {
    auto read = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken",
                         kRankTextMax);
    CHIMERA_CHECK(read.ok());
    return new std::string(*std::move(read));
  }();
  return *text;
}

std::shared_ptr<const Tokenizer> TruncatedTokenizer(int n) {
  auto tokenizer = Tokenizer::FromRankText(TruncatedRankText(), n);
  CHIMERA_CHECK(tokenizer.ok());
  return *std::move(tokenizer);
}

std::shared_ptr<const Tokenizer> FullTokenizer() {
  auto text = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/.cache/tokenizer/o200k_base.tiktoken",
                       kRankTextMax);
  if (!text.ok()) return nullptr;
  auto tokenizer = Tokenizer::FromRankText(*text, 0);
  CHIMERA_CHECK(tokenizer.ok());
  return *std::move(tokenizer);
}

std::string TestRandom::Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(Below(256));
  return bytes;
}

std::string TestRandom::ClassText(size_t chars, bool broken) {
  std::string text;
  for (size_t left = Below(static_cast<uint32_t>(chars)) + 1; left > 0; --left) {
    const std::string_view symbol =
        broken && Below(8) == 0 ? Pick(kBroken, this) : Pick(kAlphabet, this);
    const uint32_t repeats = Below(8) == 0 ? Below(6) + 1 : 1;
    for (uint32_t i = 0; i < repeats; ++i) text += symbol;
  }
  return text;
}

}  // namespace chimera
