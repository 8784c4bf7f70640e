//! Files of torch made by hand, folders of them, and our own file.

mod file;
mod folder;
mod hostile;
mod torch_file;
mod vectors;
