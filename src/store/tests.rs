//! The store: what is kept, read back, remade, refused.
