# tools.mk - $(BUILD)/loam-sim: what Loam makes of a recorded memory map. A hosted
# program on the simulated machine of the tests, with the same flags and sanitizers.
SIM_OBJECTS := $(patsubst %,$(BUILD)/tools/%.o,loam_sim sim_traffic sim_numa sim_host sim_steady \
  sim_server sim_options) $(BUILD)/host/loam_all.o $(BUILD)/host/machine.o $(BUILD)/host/machine_x86.o $(BUILD)/host/mapfile.o

$(BUILD)/tools/%.o: tools/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TEST_CFLAGS) $(ASAN) -c $< -o $@
-include $(wildcard $(BUILD)/tools/*.d)

# cmocka: the machine reports its misuse through it.
$(BUILD)/loam-sim: $(SIM_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ASAN) $^ -lcmocka -lpthread -o $@

.PHONY: loam-sim
loam-sim:
	@tools/deps.sh sim
	$(PARALLEL) $(BUILD)/loam-sim

TEST_BUILDS += $(BUILD)/loam-sim
TEST_SUITES += --suite sim 'tests/sim_test.sh $(BUILD)/loam-sim'

# The requests in the kernels as linked, by the bootloader's own rules.
TEST_SUITES += $(foreach k,kernel embed,--suite requests/$(k) \
  'LOAM_KERNEL_ELF=$(BUILD)/$(k).elf FILTER=*kernel* $(BUILD)/host/limine_protocol_test')
