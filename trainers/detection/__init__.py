"""Networks as backbones of detectors: annotated images in, boxes and their mean precision out.

``coco`` reads data sets, ``backbone`` makes a pyramid of a network's feature maps, ``detector``
puts torchvision's Faster R-CNN or RetinaNet around it, ``training`` trains it, ``evaluate`` says
what it is worth.
"""
