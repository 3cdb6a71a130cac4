/* dies: loam: frames given back for an owner that is none */
#include "loam.h"

int main(void)
{
    const loam_phys frame = kernel_frame();
    loam_give_frames(&mm, frame, 0, LOAM_OWNER_USABLE);
    return 0;
}
