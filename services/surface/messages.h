// Completions to and from the wire. Internal to services/surface. Pure functions.
#pragma once

#include "chimera/surface/v1/surface.pb.h"
#include "cluster/completer.h"

namespace chimera {

CompletionRequest ReadRequest(const surface::v1::CompleteRequest& in);
surface::v1::CompleteResponse StartedMessage(const std::string& request_id,
                                             const CompletionStart& start);
// False when the event holds nothing that a delta carries.
bool DeltaMessage(const SessionEvent& event, const Tokenizer& tokenizer,
                  surface::v1::CompleteResponse* out);
surface::v1::CompleteResponse FinishedMessage(const CompletionEnd& end);

}  // namespace chimera
