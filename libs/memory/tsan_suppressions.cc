// Test help: the packaged RocksDB is not instrumented, so ThreadSanitizer does not see how it
// passes memory from thread to thread. Reports from inside it, and from the functions of ours that
// do nothing but call it, are left out; everything else of this library is watched.
#if defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_suppressions() {
  return "race:librocksdb.so\n"
         "race:std::function<rocksdb::Status\n"  // StoreDb::Persist
         "race:chimera::StoreDb::Get\n"
         "race:chimera::FactPlan::Get\n";
}
#endif
