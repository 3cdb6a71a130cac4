-- What scripts do all day: tables, strings, closures, garbage. Prints checksums.
local state = 12345

local function draw(limit)
  state = (state * 1103515245 + 12345) % 2147483648
  return (state // 65536) % limit
end

local function word()
  local letters = {}
  for i = 1, 3 + draw(9) do
    letters[i] = string.char(97 + draw(16))
  end
  return table.concat(letters)
end

local lines, texts = {}, {}
for number = 1, 5000 do
  local chosen = {}
  for i = 1, 12 do
    chosen[i] = word()
    local list = lines[chosen[i]] or {}
    list[#list + 1] = number
    lines[chosen[i]] = list
  end
  texts[number] = table.concat(chosen, " ")
end

local names, common = {}, 0
for name in pairs(lines) do
  names[#names + 1] = name
end
table.sort(names)
for i, name in ipairs(names) do
  common = (common * 31 + #name * #lines[name] + i) % 1000000007
end

local length = 0
for _, text in ipairs(texts) do
  local copy = text:gsub("(%w)(%w*)", function(first, rest)
    return rest .. first
  end)
  length = length + #copy:upper():rep(2, "-")
end

local function counter()
  local count = { value = 0 }
  return function(more)
    count = { value = count.value + more, before = count.value }
    return count.value
  end
end

local sum = 0
for _ = 1, 20000 do
  local add = counter()
  for more = 1, 10 do
    sum = sum + add(more)
  end
end
print(common, length, sum)
