#include "decode/debt_words.h"

#include <algorithm>
#include <iterator>

namespace chimera {
namespace {

using Words = std::string_view;

constexpr Words kPersonPronouns[] = {"he",  "she",  "him",     "her",
                                     "his", "hers", "himself", "herself"};
constexpr Words kThingPronouns[] = {"it", "its", "itself"};
constexpr Words kManyPronouns[] = {"they", "them", "their", "theirs", "themselves"};

constexpr Words kPersons[] = {"man",       "woman",  "boy",      "girl",    "child",   "king",
                              "queen",     "prince", "princess", "mother",  "father",  "sister",
                              "brother",   "son",    "daughter", "wife",    "husband", "uncle",
                              "aunt",      "doctor", "teacher",  "captain", "soldier", "lady",
                              "gentleman", "friend", "servant",  "master",  "lord",    "widow",
                              "priest",    "writer", "farmer",   "stranger"};

constexpr Words kDeterminers[] = {"the", "a",    "an",  "this", "that", "these", "those", "my",
                                  "our", "your", "his", "her",  "its",  "their", "every", "each"};

constexpr Words kPast[] = {"was",  "were",  "had",  "did",  "said",  "went",  "came",  "saw",
                           "took", "made",  "knew", "got",  "gave",  "found", "told",  "became",
                           "felt", "stood", "sat",  "ran",  "spoke", "heard", "began", "fell",
                           "lay",  "held",  "kept", "left", "met",   "wrote", "woke",  "thought"};
constexpr Words kPresent[] = {"is",     "are",   "am",      "has",   "does",   "says", "goes",
                              "comes",  "sees",  "takes",   "makes", "knows",  "gets", "gives",
                              "finds",  "tells", "becomes", "feels", "stands", "sits", "runs",
                              "speaks", "hears", "begins",  "thinks"};
// In -ed and no verb of the past.
constexpr Words kNotPast[] = {"need", "seed", "feed",  "speed",  "indeed", "hundred", "breed",
                              "weed", "deed", "greed", "sacred", "naked",  "proceed", "exceed"};

constexpr Words kCounts[] = {"two",       "three",    "four",     "five",    "six",
                             "seven",     "eight",    "nine",     "ten",     "eleven",
                             "twelve",    "thirteen", "fourteen", "fifteen", "sixteen",
                             "seventeen", "eighteen", "nineteen", "twenty"};

constexpr Words kAbbreviations[] = {"mr",     "mrs", "ms",  "dr",   "prof", "st",  "jr",
                                    "sr",     "vs",  "etc", "cf",   "fig",  "no",  "vol",
                                    "pp",     "ed",  "eds", "al",   "inc",  "ltd", "co",
                                    "approx", "gen", "col", "capt", "rev",  "hon", "ca"};

constexpr Words kDangling[] = {
    "the",  "a",     "an",  "of",    "to",   "and",  "or",  "but",     "with",   "from", "for",
    "by",   "at",    "as",  "into",  "onto", "than", "if",  "because", "while",  "my",   "our",
    "your", "their", "its", "every", "is",   "are",  "was", "were",    "between"};

constexpr Words kFunction[] = {
    "i",        "you",   "we",     "who",    "what",    "when",  "where", "why", "how",
    "which",    "there", "here",   "this",   "that",    "these", "those", "in",  "on",
    "over",     "under", "after",  "before", "then",    "so",    "not",   "no",  "yes",
    "some",     "any",   "all",    "many",   "few",     "have",  "do",    "can", "will",
    "would",    "could", "should", "may",    "might",   "must",  "me",    "us",  "though",
    "although", "since", "until",  "also",   "however", "let",   "one"};

template <size_t n>
bool Has(const Words (&words)[n], std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

}  // namespace

Referent PronounOf(std::string_view word) {
  if (Has(kPersonPronouns, word)) return Referent::kPerson;
  if (Has(kThingPronouns, word)) return Referent::kThing;
  return Has(kManyPronouns, word) ? Referent::kMany : Referent::kNone;
}

bool IsPerson(std::string_view word) { return Has(kPersons, word); }

bool IsDeterminer(std::string_view word) { return Has(kDeterminers, word); }

Tense TenseOf(std::string_view word) {
  if (Has(kPresent, word)) return Tense::kPresent;
  const bool past = word.size() > 3 && word.ends_with("ed") && !Has(kNotPast, word);
  return past || Has(kPast, word) ? Tense::kPast : Tense::kNone;
}

int CountOf(std::string_view word) {
  const auto at = std::find(std::begin(kCounts), std::end(kCounts), word);
  if (at != std::end(kCounts)) return 2 + static_cast<int>(at - std::begin(kCounts));
  if (word.empty() || word.size() > 2) return 0;
  int n = 0;
  for (const char c : word) {
    if (c < '0' || c > '9') return 0;
    n = 10 * n + (c - '0');
  }
  return n >= 2 && n <= 20 ? n : 0;
}

bool IsAbbreviation(std::string_view word) { return Has(kAbbreviations, word); }

bool IsFunctionWord(std::string_view word) {
  return Has(kFunction, word) || Has(kDangling, word) || IsDeterminer(word) ||
         PronounOf(word) != Referent::kNone;
}

bool IsDangling(std::string_view word) { return Has(kDangling, word); }

}  // namespace chimera
