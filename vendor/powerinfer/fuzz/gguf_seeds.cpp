// Writes the seed corpus of gguf_fuzz: gguf_seeds DIRECTORY.
#include "gguf_writer.h"

#include <cstdio>
#include <fstream>
#include <string>

namespace {

bool write(const std::string& path, const test::Bytes& bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(
        reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())
    );
    out.close();
    if (!out) {
        std::fprintf(stderr, "cannot write %s\n", path.c_str());
    }
    return static_cast<bool>(out);
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: gguf_seeds DIRECTORY\n");
        return 2;
    }
    const std::string directory = argv[1];
    const std::string safetensors = std::string("\x10\0\0\0\0\0\0\0", 8) + "{\"a\":{\"b\":1}}  ";
    const bool ok = write(directory + "/model.gguf", test::model_writer().build()) &&
                    write(directory + "/vocab.gguf", test::vocab_writer().build()) &&
                    write(directory + "/index.gpuidx", test::gpu_index_writer().build()) &&
                    write(directory + "/page.html", test::bytes_of("<!DOCTYPE html><html>")) &&
                    write(directory + "/safetensors", test::bytes_of(safetensors));
    return ok ? 0 : 1;
}
