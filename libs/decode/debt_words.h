// The words of English that debts of prose go by: small tables, lower-case ASCII. Functions are
// pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace chimera {

// What a pronoun stands for, or what a noun may be taken up by.
enum class Referent : uint8_t { kNone, kPerson, kThing, kMany };
// Of third-person pronouns.
Referent PronounOf(std::string_view word);
// A noun for a person: "mother", "king".
bool IsPerson(std::string_view word);
// A noun follows: "the", "his".
bool IsDeterminer(std::string_view word);

enum class Tense : uint8_t { kNone, kPast, kPresent };
// Of auxiliaries, frequent verbs, and words in -ed.
Tense TenseOf(std::string_view word);

// 2 to 20, in letters or digits; 0 otherwise.
int CountOf(std::string_view word);
// A full stop behind it ends no sentence.
bool IsAbbreviation(std::string_view word);
// Articles, pronouns, prepositions, conjunctions, auxiliaries: capitalised they name nothing.
bool IsFunctionWord(std::string_view word);
// No sentence ends with it: "the", "of".
bool IsDangling(std::string_view word);

}  // namespace chimera
