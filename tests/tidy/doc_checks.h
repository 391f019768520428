// Checks on the documents: the spine and the floors of ARCHITECTURE.md, and links.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tidy/include_checks.h"
#include "tidy/source_tree.h"

namespace chimera::tidy {

// The part of a page between "<!-- name -->" and "<!-- /name -->"; empty when absent.
std::string_view MarkedPart(std::string_view page, std::string_view name);

// Cells of every row of a Markdown table, without its head.
std::vector<std::vector<std::string>> TableRows(std::string_view part);

// The words in backticks, in order.
std::vector<std::string> CodeWords(std::string_view text);

// Rows of the spine, "| step | `file` | `symbol` ... |": the file exists and holds every symbol.
// Fewer than five rows is a finding too.
std::vector<Finding> CheckSpine(const SourceFile& page, const std::vector<SourceFile>& files);

// The floor table of the page equals `floors`, row by row.
std::vector<Finding> CheckFloorTable(const SourceFile& page, const std::vector<Floor>& floors);

// Relative links of a Markdown page lead to something below root.
std::vector<Finding> CheckLinks(const SourceFile& page, const std::string& root);

}  // namespace chimera::tidy
