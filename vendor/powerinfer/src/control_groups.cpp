#include "control_groups.h"

#include <algorithm>
#include <cstdio>
#include <memory>

namespace powerinfer {

namespace {

bool contains(std::string_view controllers, std::string_view controller) {
    const std::string list = "," + std::string(controllers) + ",";
    return list.find("," + std::string(controller) + ",") != std::string::npos;
}

} // namespace

std::vector<ControlGroup> control_groups(
    const std::string& root, std::string_view membership, std::string_view controller
) {
    std::vector<ControlGroup> groups;
    while (!membership.empty()) { // lines "NUMBER:CONTROLLERS:PATH"
        const std::string_view line = membership.substr(0, membership.find('\n'));
        membership.remove_prefix(std::min(membership.size(), line.size() + 1));
        const size_t first = line.find(':');
        const size_t second = line.find(':', first + 1);
        if (first == std::string_view::npos || second == std::string_view::npos) {
            continue;
        }
        const std::string_view controllers = line.substr(first + 1, second - first - 1);
        const bool is_v2 = controllers.empty();
        if (!is_v2 && !contains(controllers, controller)) {
            continue;
        }
        const std::string mount = is_v2 ? root : root + "/" + std::string(controllers);
        std::string path(line.substr(second + 1));
        while (true) {
            groups.push_back({mount + path, is_v2});
            if (path.empty()) {
                break;
            }
            path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
        }
    }
    return groups;
}

std::string read_start(const std::string& path) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "r"), &std::fclose);
    std::string text(4096, '\0');
    text.resize(file == nullptr ? 0 : std::fread(text.data(), 1, text.size(), file.get()));
    return text;
}

} // namespace powerinfer
