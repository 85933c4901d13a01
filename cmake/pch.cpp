// Exists so that the precompiled header is built once and shared by every target (REUSE_FROM).
