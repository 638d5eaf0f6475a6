//! The command `kiln`.

#[expect(clippy::disallowed_methods, reason = "this is the file that ends the process")]
fn main() {
    std::process::exit(i32::from(kiln::cli::main(std::env::args_os())));
}
