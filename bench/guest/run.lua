-- Closures, tables, strings, floating point and garbage: lua run.lua ROUNDS. Prints nothing that depends on hashing.

local function queens(n)
    local columns, up, down, found = {}, {}, {}, 0
    local function place(row)
        if row > n then
            found = found + 1
            return
        end
        for column = 1, n do
            if not (columns[column] or up[row + column] or down[row - column]) then
                columns[column], up[row + column], down[row - column] = true, true, true
                place(row + 1)
                columns[column], up[row + column], down[row - column] = nil, nil, nil
            end
        end
    end
    place(1)
    return found
end

local function words(n)
    local state, list, seen = 42, {}, {}
    for i = 1, n do
        state = (state * 1103515245 + 12345) % 2147483648
        list[i] = string.format("%x-%s", state % 4096, ("abc"):rep(state % 3))
        seen[list[i]] = (seen[list[i]] or 0) + 1
    end
    table.sort(list)
    local text = table.concat(list, " ")
    local replaced, count = text:gsub("(%x+)%-a", "%1+")
    return #text, #replaced, count, seen[list[1]]
end

local Point = {}
Point.__index = Point
Point.__add = function(a, b)
    return setmetatable({ x = a.x + b.x, y = a.y * 0.5 + b.y }, Point)
end

local function points(n)
    local p = setmetatable({ x = 0.0, y = 1.0 }, Point)
    for i = 1, n do
        p = p + setmetatable({ x = i / 3, y = i % 7 }, Point)
    end
    return p
end

local total = {}
for round = 1, tonumber(arg[1]) do
    local p = points(20000 + round)
    total = { queens(7), string.format("%.9g %.9g", p.x, p.y), words(4000 + round) }
end
print(table.concat(total, " "))
