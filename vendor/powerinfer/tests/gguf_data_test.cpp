// The container reader on real files: all below $POWERINFER_TEST_DATA/{models,golden,data/vocab}.
#include "check.h"
#include "gguf.h"
#include "gguf_walk.h"
#include "test_data.h"

#include <filesystem>
#include <vector>

namespace fs = std::filesystem;

using namespace powerinfer;

namespace {

std::vector<fs::path> containers_below(const fs::path& root) {
    std::vector<fs::path> found;
    for (const char* folder : {"models", "golden", "data/vocab"}) {
        if (!fs::is_directory(root / folder)) {
            continue;
        }
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / folder)) {
            const std::string extension = entry.path().extension().string();
            if (entry.is_regular_file() && (extension == ".gguf" || extension == ".gpuidx")) {
                found.push_back(entry.path());
            }
        }
    }
    return found;
}

void check_container(const fs::path& path) {
    const GgufFile file = GgufFile::open(path.string());
    const std::string name = path.filename().string();
    CHECK_MSG(test::walk(file).is_consistent, "%s", path.c_str());
    CHECK_MSG(file.string("general.architecture").has_value(), "%s", path.c_str());
    const bool is_sparse =
        name.find(".powerinfer.") != std::string::npos || name.ends_with(".gpuidx");
    CHECK_MSG(file.is_sparse() == is_sparse, "%s", path.c_str());
    const bool has_tensors = file.find_tensor("token_embd.weight") != nullptr;
    CHECK_MSG(has_tensors != name.starts_with("ggml-vocab-"), "%s", path.c_str());
}

} // namespace

int main() {
    const auto root = test_data::root();
    if (!root) {
        return check::finish();
    }
    const std::vector<fs::path> paths = containers_below(*root);
    CHECK_MSG(!paths.empty(), "no containers below %s", root->c_str());
    for (const fs::path& path : paths) {
        check::run(path.c_str(), [&] { check_container(path); });
    }
    return check::finish();
}
