// The knot's messages to and from the wire (proto/chimera/knot/v1/knot.proto). Reading checks what
// has a size; ranges are checked where they are used. Functions are pure.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/class_table_cache.h"
#include "cluster/mask_cache.h"
#include "cluster/model_transfer.h"
#include "cluster/sketch_cache.h"
#include "decode/knot.h"

namespace chimera::knot::v1 {
class FileChunk;
class GetModelResponse;
class NodeDistribution;
class Refused;
class Rows;
class Verified;
class Verify;
}  // namespace chimera::knot::v1

namespace chimera {

// class_table_id: of the transform's table, 0 without one. Hashing it takes longer than the rest.
void WriteVerify(const VerifyRequest& request, uint64_t class_table_id, knot::v1::Verify* out);
// Sketches, masks and class tables travel by content hash; these hold those that are known.
struct KnotCaches {
  SketchCache sketches;
  MaskCache masks;
  ClassTableCache class_tables;
};
// One that is not: the request is not complete then. 0: none.
struct UnknownContent {
  uint64_t sketch_id = 0;
  uint64_t mask_id = 0;
  uint64_t class_table_id = 0;
};
absl::StatusOr<VerifyRequest> ReadVerify(const knot::v1::Verify& in, KnotCaches* caches,
                                         UnknownContent* unknown);

void WriteVerified(const VerifyResult& result, knot::v1::Verified* out);
// INTERNAL for lists that do not agree with each other or with the request they answer.
absl::StatusOr<VerifyResult> ReadVerified(const VerifyRequest& request,
                                          const knot::v1::Verified& in);

void WriteRows(const NodeDistribution& rows, int first, knot::v1::Rows* out);
absl::StatusOr<NodeDistribution> ReadRows(const knot::v1::Rows& in);

void WriteModelInfo(const KnotModelInfo& info, knot::v1::GetModelResponse* out);
KnotModelInfo ReadModelInfo(const knot::v1::GetModelResponse& in);

// A refusal that leaves the stream as it was, and back; a code that means nothing is INTERNAL.
void WriteRefused(const absl::Status& status, knot::v1::Refused* out);
absl::Status ReadRefused(const knot::v1::Refused& in);

// Takes the data out of the chunk.
void WriteChunk(ModelChunk* chunk, knot::v1::FileChunk* out);
ModelChunk ReadChunk(const knot::v1::FileChunk& in);

}  // namespace chimera
