// The owner of the tests' precompiled header.
int main() {}
